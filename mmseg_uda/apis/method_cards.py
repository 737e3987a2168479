"""The methods' cards (README.md beside their code), read for titles and citations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CARDS = ("methods/*/README.md", "models/segmentors/README.md")
_TITLE = re.compile(r"# (.+)")
_CLASS = re.compile(r"\.py`: `(\w+)`|`type=\"(\w+)\"`|type=\"(\w+)\"")
_BIBTEX = re.compile(r"^```bibtex\n(.+?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class MethodCard:
    """What a card says.

    Attributes:
        title: Its first line.
        classes: Those that it is about: named before its first heading.
        bibtex: Entries of the papers, '' without one.
    """

    title: str
    classes: frozenset[str]
    bibtex: str


def cards_of(classes: Iterable[str]) -> list[MethodCard]:
    """Returns the cards that are about some of these classes, in the classes' order."""
    found: dict[MethodCard, None] = {}
    for name in classes:
        found.update((card, None) for card in _all() if name in card.classes)
    return list(found)


@cache
def _all() -> tuple[MethodCard, ...]:
    paths = (path for pattern in CARDS for path in sorted(PACKAGE.glob(pattern)))
    return tuple(_read(path.read_text(encoding="utf-8")) for path in paths)


def _read(text: str) -> MethodCard:
    title, head = _TITLE.match(text), text.partition("\n## ")[0]
    names = {name for groups in _CLASS.findall(head) for name in groups if name}
    entries = "".join(found[1] for found in _BIBTEX.finditer(text))
    return MethodCard(title[1] if title else "", frozenset(names), entries)
