"""From one taxonomy to another: default classes, candidates and their texts (DynAlign).

A map is a YAML file. ``data/maps/mapillary_v5.yaml`` shows the usual keys; a project adds its own
by passing the path of a file instead of a name.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from .map_reader import MapContent, read_map
from .taxonomy import DATA_DIR, Taxonomy
from .yaml_files import find_yaml, read_yaml

MAPS_DIR = DATA_DIR / "maps"


@dataclass(frozen=True)
class TaxonomyMap:
    """How classes of a source taxonomy divide into classes of a target taxonomy.

    K source classes, N prompt-names. A prompt-name is what a region is compared with; several may
    stand for one target class. All lists are in the order of the file.

    Attributes:
        name: Name of the map.
        source: The taxonomy that the segmenter predicts.
        target: The taxonomy of the result.
        defaults: (K,) target id that a source class becomes unless a candidate wins.
        void_id: Target id of pixels without a source class.
        names: (N,) prompt-names.
        name_ids: (N,) target id of each prompt-name.
        contexts: (N,) texts that describe each prompt-name, at least one.
        released_contexts: (N,) the same before texts were corrected.
        own: (K,) indices into ``names`` that compete for regions of a source class.
        shared: (K,) further indices, those that compete in every region unless the class overrides
            them.
        paddings: (K,) context around a region in pixels of the working size.
        templates: Sentences with ``{}`` in place of a context name.
        eval_ids: Target ids that are evaluated; labels with another id do not count.
        known_ids: Those that a source class becomes by default (or as the file says).
    """

    name: str
    source: Taxonomy
    target: Taxonomy
    defaults: tuple[int, ...]
    void_id: int
    names: tuple[str, ...]
    name_ids: tuple[int, ...]
    contexts: tuple[tuple[str, ...], ...]
    released_contexts: tuple[tuple[str, ...], ...]
    own: tuple[tuple[int, ...], ...]
    shared: tuple[tuple[int, ...], ...]
    paddings: tuple[int, ...]
    templates: tuple[str, ...]
    eval_ids: tuple[int, ...]
    known_ids: tuple[int, ...]

    @property
    def source_classes(self) -> tuple[str, ...]:
        """(K,) names of the source classes."""
        return self.source.classes

    @property
    def target_classes(self) -> tuple[str, ...]:
        """Names of the target classes."""
        return self.target.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """RGB colours of the target classes."""
        return self.target.palette

    @property
    def ignore_index(self) -> int:
        """Label of pixels without a target class."""
        return self.target.ignore_index

    @property
    def new_ids(self) -> tuple[int, ...]:
        """Evaluated ids that are not known."""
        return tuple(i for i in self.eval_ids if i not in self.known_ids)

    @property
    def candidates(self) -> tuple[tuple[int, ...], ...]:
        """(K,) indices into ``names``: a class's own ones, then the shared ones, none twice.

        Empty where nothing competes; the default is kept there.
        """
        return tuple(
            tuple(dict.fromkeys([*own, *shared]))
            for own, shared in zip(self.own, self.shared, strict=True)
        )

    def candidate_table(self) -> list[list[bool]]:
        """Returns (K, N): whether a prompt-name competes for regions of a source class."""
        return [[n in row for n in range(len(self.names))] for row in self.candidates]

    def default_lookup(self) -> list[int]:
        """Returns the target id of each of the 256 values of a source label file."""
        rest = [self.void_id] * (256 - len(self.defaults))
        return [*self.defaults, *rest]

    def row_origins(self) -> tuple[int | None, ...]:
        """Returns, per target class, the source class whose classifier it best starts from.

        That is the class with this default, else the first one with this class among its own
        candidates, else None (DynAlign).
        """
        origins: list[int | None] = [None] * len(self.target)
        for k, row in enumerate(self.own):
            for target_id in (self.name_ids[n] for n in row):
                if target_id < len(origins) and origins[target_id] is None:
                    origins[target_id] = k
        for k in reversed(range(len(self.defaults))):  # of two classes with one default, the first
            if self.defaults[k] < len(origins):
                origins[self.defaults[k]] = k
        return tuple(origins)

    def phrases(self) -> list[list[str]]:
        """Returns (N,) lists: every context name of a prompt-name in every template."""
        return [[t.replace("{}", c) for c in own for t in self.templates] for own in self.contexts]

    def variant(
        self, shared: bool = True, contexts: Literal["full", "name", "released"] = "full"
    ) -> TaxonomyMap:
        """Returns the map of an ablation.

        Args:
            shared: Whether the shared candidates compete.
            contexts: ``full``, only the prompt-name itself in lower case (``name``), or all texts
                in their ``released`` spelling.
        """
        changes: dict[str, Any] = {}
        if not shared:
            changes["shared"] = tuple(() for _ in self.shared)
        if contexts == "name":
            changes["contexts"] = tuple((name.lower(),) for name in self.names)
        elif contexts == "released":
            changes["contexts"] = self.released_contexts
        return replace(self, **changes)

    def fingerprint(self) -> str:
        """Returns a hash of everything that changes a result; the file's formatting does not."""
        content = asdict(self)
        del content["released_contexts"]  # they are in use where they are the contexts
        for side in ("source", "target"):
            content[side] = {"classes": content[side]["classes"]}
        content["ignore_index"] = self.ignore_index
        text = json.dumps(content, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def facts(self) -> dict[str, list[int]]:
        """Returns what the lists alone tell (DynAlign), as sorted target ids.

        ``reachable``: ids that a pixel can get; ``unreachable_evaluated``: evaluated ids that none
        can get, whose IoU is 0; ``reachable_ignored``: ids that can be predicted and are not
        evaluated.
        """
        competing = {self.name_ids[n] for row in self.candidates for n in row}
        reachable = {i for i in competing | {*self.defaults} if i != self.ignore_index}
        evaluated = set(self.eval_ids)
        return {
            "reachable": sorted(reachable),
            "unreachable_evaluated": sorted(evaluated - reachable),
            "reachable_ignored": sorted(reachable - evaluated),
        }


def available_taxonomy_maps() -> list[str]:
    """Returns the names of the maps that come with the package."""
    return sorted(path.stem for path in MAPS_DIR.glob("*.yaml"))


def load_taxonomy_map(name_or_path: str | Path | TaxonomyMap) -> TaxonomyMap:
    """Loads a map by name (``mapillary_v5``) or from the path of a YAML file.

    What is doubtful (a name listed twice, a default that is no candidate) is a ``UserWarning``.

    Raises:
        UserError: No such file, or wrong entries; one message names all of them, each with source
            class and entry.
    """
    if isinstance(name_or_path, TaxonomyMap):
        return name_or_path
    path = find_yaml(name_or_path, MAPS_DIR, "taxonomy map", available_taxonomy_maps())
    taxonomy_map, doubts = _load_file(path, path.stat().st_mtime_ns)
    for doubt in doubts:
        warnings.warn(f"{path}: {doubt}", stacklevel=2)
    return taxonomy_map


def taxonomy_map_from(content: Any, where: str | Path) -> tuple[TaxonomyMap, list[str]]:
    """Builds a map from the content of a YAML file.

    Args:
        content: As ``yaml.safe_load`` returns it.
        where: Name for messages; relative paths of taxonomies start at its folder.

    Returns:
        The map, and what is doubtful about it.

    Raises:
        UserError: As :func:`load_taxonomy_map`.
    """
    found: MapContent = read_map(content, Path(where))
    return TaxonomyMap(**found.values), found.doubts


@lru_cache(maxsize=32)
def _load_file(path: Path, mtime_ns: int) -> tuple[TaxonomyMap, list[str]]:
    """Reads a file; its time stamp is part of the key so that an edited file is read again.

    A target taxonomy given by path is read once with its map.
    """
    return taxonomy_map_from(read_yaml(path), path)
