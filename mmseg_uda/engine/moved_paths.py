"""Whether two paths of a config lead to the same thing, which has moved or been copied."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

# Keys of folders that are moved as a whole, and everything below them.
ROOTS = ("work_dir", "data_root")


@dataclass(frozen=True)
class Moves:
    """Folders that have another place now.

    Attributes:
        pairs: Old and new place of each.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def between(cls, then: Mapping[str, Any], now: Mapping[str, Any]) -> Moves:
        """Finds the folders of two configs that have moved: working and data directories."""
        pairs = []
        for old, new in _roots(then, now):
            before, after = list(PurePath(old).parts), list(PurePath(new).parts)
            while len(before) > 1 and len(after) > 1 and before[-1] == after[-1]:
                before.pop(), after.pop()
            pairs.append((str(PurePath(*before)), str(PurePath(*after))))
        return cls(tuple(dict.fromkeys(pairs)))

    def same(self, key: str, then: Any, now: Any) -> bool:
        """Whether two values of ``key`` are paths of one thing.

        That is so if it lies where a move of its folder would have put it, if nothing is left at
        the old place and the name is the same, or if both places hold a file of that name and of
        one size.
        """
        if not isinstance(then, str) or not isinstance(now, str) or os.sep not in then + now:
            return False
        old, new = PurePath(then), PurePath(now)
        if os.path.abspath(old) == os.path.abspath(new):
            return True
        is_root = key.rpartition(".")[2] in ROOTS  # a move itself, not what moves with it
        if not is_root and any(_moved(old, *pair) == new for pair in self.pairs):
            return True
        if old.name != new.name:
            return False
        if not os.path.exists(old):
            return old.is_absolute()
        files = os.path.isfile(old) and os.path.isfile(new)
        return files and os.path.getsize(old) == os.path.getsize(new)


def _moved(path: PurePath, before: str, after: str) -> PurePath | None:
    return PurePath(after) / path.relative_to(before) if path.is_relative_to(before) else None


def _roots(then: Any, now: Any) -> Iterator[tuple[str, str]]:
    """Values of the keys ``ROOTS`` that stand at the same place of two configs and differ."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in then.keys() & now.keys():
            old, new = then[name], now[name]
            if name in ROOTS and isinstance(old, str) and isinstance(new, str):
                if PurePath(old) != PurePath(new):
                    yield old, new
            else:
                yield from _roots(old, new)
    elif isinstance(then, list) and isinstance(now, list):
        for old, new in zip(then, now, strict=False):
            yield from _roots(old, new)
