"""Reads and validates taxonomy maps; all wrong entries are collected into one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError

from .map_sides import are_texts, is_int, other_taxonomy, read_side
from .taxonomy import Taxonomy
from .yaml_files import name_in

KEYS = {
    *("name", "source", "target", "source_classes", "target_classes", "palette", "ignore_index"),
    *("default", "void", "candidates", "shared_candidates", "shared_overrides", "alias"),
    *("context", "context_from", "released_context", "templates", "padding", "default_padding"),
    *("eval_ids", "known_ids"),
}
DEFAULT_PADDING = 10
DEFAULT_TEMPLATES = ("a photo of {}",)
OWN_DEFAULT = "default"
"""In place of a list of candidates: a source class's default class and nothing else."""


@dataclass(frozen=True)
class MapContent:
    """What a file says.

    Attributes:
        values: Arguments of ``TaxonomyMap``.
        doubts: What is allowed but most likely a mistake.
    """

    values: dict[str, Any]
    doubts: list[str]


def read_map(content: Any, path: Path) -> MapContent:
    """Checks the content of a map's file.

    Raises:
        UserError: Names the file and all wrong entries.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: no taxonomy map.", fix="See mmseg_uda/taxonomy/data/maps.")
    reader = _MapReader(content, path)
    values = reader.values()
    if reader.faults:
        lines = "".join(f"\n  {fault}" for fault in reader.faults)
        raise UserError(
            f"{path}: {len(reader.faults)} wrong "
            f"{'entry' if len(reader.faults) == 1 else 'entries'}:{lines}",
            fix="Correct the file; mmseg_uda/taxonomy/data/maps/mapillary_v5.yaml shows every key.",
        )
    return MapContent(values, reader.doubts)


class _MapReader:
    def __init__(self, content: Mapping, path: Path) -> None:
        self.content = content
        self.path = path
        self.faults: list[str] = []
        self.doubts: list[str] = []
        for key in content:
            if key not in KEYS:
                self.faults.append(f"unknown key '{key}'; there are {', '.join(sorted(KEYS))}")
        self.source = read_side(content, path, "source")
        self.target = read_side(content, path, "target")
        self.alias = {
            str(name): self.target_id(entry, f"alias, entry '{name}'")
            for name, entry in self.mapping("alias").items()
        }
        for name, target_id in self.alias.items():
            if name in self.target.classes and target_id != self.target.classes.index(name):
                self.doubts.append(
                    f"alias, entry '{name}': it is a class of '{self.target.name}' itself, which "
                    "it stands for; the entry is dropped"
                )

    def values(self) -> dict[str, Any]:
        defaults = self.defaults()
        own = self.own_candidates(defaults)
        shared = self.shared_candidates()
        contexts = self.contexts([*own, *shared])
        index = {name: n for n, name in enumerate(contexts)}
        ids = {name: self.name_id(name) for name in contexts}
        for k, (default, lists) in enumerate(zip(defaults, own, strict=True)):
            reachable = {ids[name] for name in lists if name in ids}
            if lists and default is not None and default not in reachable:
                self.doubts.append(
                    f"source class '{self.source.classes[k]}': its default "
                    f"'{self.name_of(default)}' is none of its candidates"
                )
        eval_ids = self.ids("eval_ids", default=range(len(self.target)))
        known = {d for d in defaults if d != self.target.ignore_index}
        return {
            "name": name_in(self.content, self.path),
            "source": self.source,
            "target": self.target,
            "defaults": tuple(defaults),
            "void_id": self.void(),
            "names": tuple(contexts),
            "name_ids": tuple(ids.values()),
            "contexts": tuple(contexts.values()),
            "released_contexts": self.released_contexts(contexts),
            "own": tuple(tuple(index[n] for n in row if n in index) for row in own),
            "shared": tuple(tuple(index[n] for n in row if n in index) for row in shared),
            "paddings": self.paddings(),
            "templates": self.templates(),
            "eval_ids": eval_ids,
            "known_ids": self.ids("known_ids", default=sorted(i for i in eval_ids if i in known)),
        }

    def mapping(self, key: str) -> Mapping:
        value = self.content.get(key) or {}
        if isinstance(value, Mapping):
            return value
        self.faults.append(f"{key} is not a map of names")
        return {}

    def target_id(self, entry: Any, where: str) -> int:
        """Id of a target class given by name or id, or the ignore index."""
        if is_int(entry) and (entry == self.target.ignore_index or 0 <= entry < len(self.target)):
            return entry
        if isinstance(entry, str) and entry in self.target.classes:
            return self.target.classes.index(entry)
        self.faults.append(f"{where}: {entry!r} is no class of '{self.target.name}'")
        return self.target.ignore_index

    def name_id(self, name: str) -> int:
        if name in self.target.classes:
            return self.target.classes.index(name)
        return self.alias.get(name, self.target.ignore_index)

    def name_of(self, target_id: int) -> str:
        classes = self.target.classes
        return classes[target_id] if target_id < len(classes) else f"ignored ({target_id})"

    def source_keys(self, key: str) -> Mapping:
        """A map whose keys are source classes."""
        entries = self.mapping(key)
        for name in entries:
            if name not in self.source.classes:
                self.faults.append(f"{key}: '{name}' is no source class of '{self.source.name}'")
        return entries

    def defaults(self) -> list[int]:
        entries, result = self.source_keys("default"), []
        for name in self.source.classes:
            if name not in entries:
                self.faults.append(f"source class '{name}' has no default")
                result.append(self.target.ignore_index)
            else:
                result.append(self.target_id(entries[name], f"default, source class '{name}'"))
        return result

    def own_candidates(self, defaults: Sequence[int]) -> list[list[str]]:
        if self.content.get("candidates") == OWN_DEFAULT:
            classes, ignore = self.target.classes, self.target.ignore_index
            return [[] if d == ignore else [classes[d]] for d in defaults]
        entries, result = self.source_keys("candidates"), []
        for name, default in zip(self.source.classes, defaults, strict=True):
            row = self.names(entries.get(name), f"source class '{name}'")
            if not row and default != self.target.ignore_index:
                self.faults.append(f"source class '{name}' has no candidates")
            result.append(row)
        return result

    def shared_candidates(self) -> list[list[str]]:
        everywhere = self.names(self.content.get("shared_candidates"), "shared_candidates")
        overrides = self.source_keys("shared_overrides")
        return [
            self.names(overrides[name], f"shared_overrides, source class '{name}'")
            if name in overrides
            else everywhere
            for name in self.source.classes
        ]

    def names(self, entries: Any, where: str) -> list[str]:
        """Prompt-names of one list, none twice, each with a target id."""
        if not entries:
            return []
        if not are_texts(entries):
            self.faults.append(f"{where}: {entries!r} is not a list of names")
            return []
        row: list[str] = []
        for name in entries:
            if name in row:
                self.doubts.append(f"{where}: '{name}' is listed twice; the second is dropped")
                continue
            row.append(name)
            if name not in self.target.classes and name not in self.alias:
                self.faults.append(
                    f"{where}: candidate '{name}' has no target class; it is no class of "
                    f"'{self.target.name}' and has no entry under 'alias'"
                )
        return row

    def contexts(self, lists: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """Texts of every prompt-name in the order of its first mention."""
        given, lenders = self.mapping("context"), self.lender()
        result: dict[str, tuple[str, ...]] = {}
        # Candidates first: names that no list has so far come last.
        for k, row in enumerate(lists):
            for name in row:
                if name in result:
                    continue
                texts = self.texts(name, given, lenders)
                if not texts and (name in self.target.classes or name in self.alias):
                    # The lists of all source classes come first, then what these share.
                    owner = f"source class '{self.source.classes[k % len(self.source)]}'"
                    owner = owner if k < len(self.source) else f"shared candidates, {owner}"
                    self.faults.append(f"{owner}: candidate '{name}' has no context names")
                result[name] = texts
        for name in given:
            if name in result:
                continue
            if name not in self.target.classes and name not in self.alias:
                self.faults.append(f"context: '{name}' is neither a target class nor an alias")
            result[name] = self.texts(name, given, lenders)
        return result

    def released_contexts(
        self, contexts: Mapping[str, tuple[str, ...]]
    ) -> tuple[tuple[str, ...], ...]:
        """Texts as released: those of ``released_context``, else the same."""
        given = self.mapping("released_context")
        for name, texts in given.items():
            if name not in contexts:
                self.faults.append(f"released_context: '{name}' is no prompt-name of the map")
            elif not are_texts(texts):
                self.faults.append(f"released_context '{name}': {texts!r} is not a list of texts")
        return tuple(
            tuple(given[name]) if are_texts(given.get(name)) else texts
            for name, texts in contexts.items()
        )

    def lender(self) -> Taxonomy:
        """The taxonomy whose prompts are taken where the file has no texts."""
        name = self.content.get("context_from")
        return self.target if name is None else other_taxonomy(self.path, "context_from", name)

    def texts(self, name: str, given: Mapping, lender: Taxonomy) -> tuple[str, ...]:
        entry = given.get(name, name)
        if isinstance(entry, str):  # a class whose prompts are used
            if entry in lender.classes:
                return tuple(lender.prompts[lender.classes.index(entry)])
            if name in given:
                self.faults.append(f"context '{name}': '{entry}' is no class of '{lender.name}'")
            return ()
        if not are_texts(entry):
            self.faults.append(f"context '{name}': {entry!r} is not a list of texts")
            return ()
        unique = tuple(dict.fromkeys(entry))
        if len(unique) < len(entry):
            self.doubts.append(f"context '{name}': a text is listed twice; the second is dropped")
        return unique

    def void(self) -> int:
        entry = self.content.get("void")
        return self.target.ignore_index if entry is None else self.target_id(entry, "void")

    def paddings(self) -> tuple[int, ...]:
        entries = self.source_keys("padding")
        rest = self.content.get("default_padding", DEFAULT_PADDING)
        for name, value in [*entries.items(), ("default_padding", rest)]:
            if not is_int(value) or value < 0:
                self.faults.append(f"padding, entry '{name}': {value!r} is no number of pixels")
        return tuple(entries.get(name, rest) for name in self.source.classes)

    def templates(self) -> tuple[str, ...]:
        templates = self.content.get("templates", DEFAULT_TEMPLATES)
        if not are_texts(templates) or not all(text.count("{}") == 1 for text in templates):
            self.faults.append(f"templates: {templates!r} is not a list of texts with one '{{}}'")
            return DEFAULT_TEMPLATES
        return tuple(templates)

    def ids(self, key: str, default: Sequence[int]) -> tuple[int, ...]:
        """Target ids by name or id, or the name of one of the target's subsets."""
        entries = self.content.get(key)
        if entries is None:
            return tuple(default)
        if isinstance(entries, str) and entries in self.target.subsets:
            return tuple(self.target.subsets[entries])
        if not isinstance(entries, Sequence) or isinstance(entries, str):
            self.faults.append(
                f"{key}: {entries!r} is neither a list of classes nor a subset of "
                f"'{self.target.name}' ({', '.join(self.target.subsets) or 'it has none'})"
            )
            return tuple(default)
        return tuple(sorted({self.target_id(entry, key) for entry in entries}))
