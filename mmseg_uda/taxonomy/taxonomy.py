"""A taxonomy: the classes that a network predicts, with their names, colours, groups and prompts.

A taxonomy is a YAML file. ``data/cityscapes19.yaml`` shows every key; a project adds its own by
passing the path of a file instead of a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError

from .yaml_files import find_yaml, name_in, read_yaml

DATA_DIR = Path(__file__).parent / "data"
MAX_ID = 255  # label files hold 8 bits per pixel


@dataclass(frozen=True)
class Taxonomy:
    """Classes in trainId order; entry i of every tuple belongs to trainId i.

    Attributes:
        name: Name of the taxonomy.
        classes: Class names.
        palette: RGB colours, 0..255.
        groups: Super-category of each class.
        prompts: One or more texts per class for a vision-language model.
        things: Ids of the countable classes.
        ignore_index: Label value of pixels without a class.
        raw_ids: Per data set, id in its label files -> trainId; ids not listed are ignored.
        raw_id_ends: Entry of ``raw_ids`` -> last id that its label files can hold. Without one, any
            id that is not listed is ignored.
        remaps: Named maps trainId -> trainId (or ignore_index); ids not listed stay.
        subsets: Named groups of classes over which a mean IoU is reported.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    groups: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    things: tuple[int, ...] = ()
    ignore_index: int = 255
    raw_ids: dict[str, dict[int, int]] = field(default_factory=dict)
    raw_id_ends: dict[str, int] = field(default_factory=dict)
    remaps: dict[str, dict[int, int]] = field(default_factory=dict)
    subsets: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.classes)

    def class_id(self, name_or_id: str | int) -> int:
        """Returns the trainId of a class given by name or by id.

        Raises:
            UserError: The taxonomy has no such class.
        """
        if isinstance(name_or_id, str) and name_or_id in self.classes:
            return self.classes.index(name_or_id)
        is_id = isinstance(name_or_id, int) and not isinstance(name_or_id, bool)
        if is_id and 0 <= int(name_or_id) < len(self):
            return int(name_or_id)
        raise UserError(
            f"Taxonomy '{self.name}' has no class {name_or_id!r}.",
            fix=f"Use one of {', '.join(self.classes)} or an id in 0..{len(self) - 1}.",
        )

    def metainfo(self) -> dict[str, Any]:
        """Returns classes and palette in the form of mmsegmentation's data sets."""
        return {"classes": self.classes, "palette": [list(color) for color in self.palette]}

    def lookup(self, label_map: str | Mapping[int, int] | None = None) -> list[int]:
        """Returns what each of the 256 values of a label file stands for.

        Args:
            label_map: None keeps trainIds. A name of ``remaps`` or a dict changes the ids that it
                lists and keeps the others. A name of ``raw_ids`` reads raw ids of that data set.

        Returns:
            256 values; those outside the taxonomy are left in, for the caller to complain about.

        Raises:
            UserError: Unknown name, or an entry that is not an 8-bit id.
        """
        if isinstance(label_map, str) and label_map in self.raw_ids:
            table = [self.ignore_index] * (MAX_ID + 1)
            for impossible in range(self.raw_id_ends.get(label_map, MAX_ID) + 1, MAX_ID + 1):
                if impossible != self.ignore_index:
                    table[impossible] = self._outside(impossible)
            entries: Mapping[int, int] = self.raw_ids[label_map]
        else:
            table = list(range(MAX_ID + 1))
            if label_map is None:
                entries = {}
            elif isinstance(label_map, str):
                if label_map not in self.remaps:
                    known = ", ".join([*self.remaps, *self.raw_ids])
                    raise UserError(
                        f"Taxonomy '{self.name}' has no label map '{label_map}'.",
                        fix=f"Use {f'one of {known}, or ' if known else ''}a dict such as "
                        f"{{9: 8}}.",
                    )
                entries = self.remaps[label_map]
            elif isinstance(label_map, Mapping):
                entries = label_map
            else:
                raise UserError(
                    f"label_map={label_map!r} is no label map.",
                    fix="Use a dict, {id in the file: trainId}, or the name of one in the "
                    "taxonomy.",
                )
        for old, new in entries.items():
            if not (_is_id(old) and _is_id(new)):
                raise UserError(
                    f"Label map entry {old!r}: {new!r} is not a pair of ids in 0..{MAX_ID}.",
                    fix=f"Use integers; {self.ignore_index} stands for unlabelled.",
                )
            table[old] = new
        return table

    def space_of(self, label_map: Any) -> str:
        """Returns in words which ids a label map reads; '' for trainIds.

        >>> load_taxonomy("cityscapes19").space_of("mapillary12")
        'mapillary12 (0..65)'
        """
        if not (isinstance(label_map, str) and label_map in self.raw_ids):
            return ""
        end = self.raw_id_ends.get(label_map)
        return label_map if end is None else f"{label_map} (0..{end})"

    def _outside(self, value: int) -> int:
        """A value that is no trainId: the given one, if it can be."""
        free = (i for i in (value, *range(len(self), MAX_ID + 1)) if i >= len(self))
        return next((i for i in free if i != self.ignore_index), self.ignore_index)


def available_taxonomies() -> list[str]:
    """Returns the names of the taxonomies that come with the package."""
    return sorted(path.stem for path in DATA_DIR.glob("*.yaml"))


def load_taxonomy(name_or_path: str | Path | Taxonomy) -> Taxonomy:
    """Loads a taxonomy by name (``cityscapes19``) or from the path of a YAML file.

    Raises:
        UserError: No such file, or an entry that is wrong; the message names class and entry.
    """
    if isinstance(name_or_path, Taxonomy):
        return name_or_path
    path = find_yaml(name_or_path, DATA_DIR, "taxonomy", available_taxonomies())
    return _load_file(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _load_file(path: Path, mtime_ns: int) -> Taxonomy:
    """Reads a file; its time stamp is part of the key so that an edited file is read again."""
    return _Reader(path).taxonomy(read_yaml(path))


class _Reader:
    """Turns the content of a file into a taxonomy; knows the path for its messages."""

    KEYS = {"name", "ignore_index", "classes", "raw_ids", "raw_id_ends", "remaps", "subsets"}
    CLASS_KEYS = {"name", "color", "group", "prompts", "thing"}

    def __init__(self, path: Path) -> None:
        self.path = path

    def error(self, what: str, fix: str | None = None) -> UserError:
        return UserError(f"{self.path}: {what}", fix=fix)

    def taxonomy(self, content: Any) -> Taxonomy:
        if not isinstance(content, Mapping) or not content.get("classes"):
            raise self.error("no list of classes.", "Add the key 'classes'.")
        self.known(content, self.KEYS, "the file")
        entries = content["classes"]
        if not isinstance(entries, Sequence) or isinstance(entries, str):
            raise self.error("'classes' is not a list.")
        ignore = content.get("ignore_index", 255)
        if not _is_id(ignore) or ignore < len(entries):
            raise self.error(
                f"ignore_index {ignore!r} has to be in {len(entries)}..{MAX_ID}, since label files "
                f"hold 8 bits and {len(entries)} classes use the ids before."
            )
        names = tuple(self.class_name(i, entry) for i, entry in enumerate(entries))
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise self.error(f"class '{twice[0]}' is listed twice.")
        raw_ids = self.maps(content, "raw_ids", len(names), ignore)
        return Taxonomy(
            name=name_in(content, self.path),
            classes=names,
            palette=tuple(self.color(e) for e in entries),
            groups=tuple(self.group(e) for e in entries),
            prompts=tuple(self.prompts(e) for e in entries),
            things=tuple(i for i, e in enumerate(entries) if e.get("thing", False)),
            ignore_index=ignore,
            raw_ids=raw_ids,
            raw_id_ends=self.ends(content, raw_ids),
            remaps=self.maps(content, "remaps", len(names), ignore),
            subsets=self.subsets(self.mapping(content.get("subsets"), "subsets"), names),
        )

    def known(self, entry: Mapping, keys: set[str], where: str) -> None:
        unknown = sorted(str(key) for key in entry if key not in keys)
        if unknown:
            raise self.error(
                f"unknown key '{unknown[0]}' in {where}.", f"Use {', '.join(sorted(keys))}."
            )

    def class_name(self, index: int, entry: Any) -> str:
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not name.strip():
            raise self.error(f"entry {index} of 'classes' has no name.", "Add 'name: ...'.")
        self.known(entry, self.CLASS_KEYS, f"class '{name}'")
        if not isinstance(entry.get("thing", False), bool):
            raise self.error(
                f"class '{name}': thing {entry['thing']!r} is neither true nor false.",
                "Write 'thing: true' for countable objects.",
            )
        return name

    def color(self, entry: Mapping) -> tuple[int, int, int]:
        color = entry.get("color")
        right = isinstance(color, Sequence) and len(color) == 3 and all(_is_id(v) for v in color)
        if not right:
            raise self.error(
                f"class '{entry['name']}': color {color!r} is not three numbers in 0..255.",
                "Write for example 'color: [128, 64, 128]'.",
            )
        red, green, blue = color  # type: ignore[misc]
        return red, green, blue

    def group(self, entry: Mapping) -> str:
        group = entry.get("group")
        if not isinstance(group, str) or not group:
            raise self.error(
                f"class '{entry['name']}' has no group.",
                "Add its super-category, 'group: vehicle'.",
            )
        return group

    def prompts(self, entry: Mapping) -> tuple[str, ...]:
        prompts = entry.get("prompts")
        right = isinstance(prompts, Sequence) and not isinstance(prompts, str) and len(prompts) > 0
        if not right or not all(isinstance(p, str) and p.strip() for p in prompts or ()):
            raise self.error(
                f"class '{entry['name']}': prompts {prompts!r} is not a list of texts.",
                f"Give at least one per class, for example 'prompts: [{entry['name']}]'.",
            )
        return tuple(prompts or ())

    def mapping(self, value: Any, where: str) -> Mapping:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.error(
                f"{where}: {value!r} is no map of keys to values.", "Write 'key: value'."
            )
        return value

    def maps(
        self, content: Mapping, key: str, classes: int, ignore: int
    ) -> dict[str, dict[int, int]]:
        result: dict[str, dict[int, int]] = {}
        for name, entries in self.mapping(content.get(key), key).items():
            pairs = dict(self.mapping(entries, f"{key}.{name}"))
            for old, new in pairs.items():
                if not _is_id(old) or not (_is_id(new) and (new < classes or new == ignore)):
                    raise self.error(
                        f"{key}.{name}: entry {old!r}: {new!r} leaves the taxonomy.",
                        f"Map 8-bit ids to 0..{classes - 1} or {ignore} (unlabelled).",
                    )
            result[str(name)] = pairs
        return result

    def ends(self, content: Mapping, raw_ids: Mapping[str, Mapping]) -> dict[str, int]:
        ends = self.mapping(content.get("raw_id_ends"), "raw_id_ends")
        for name, end in ends.items():
            if name not in raw_ids or not _is_id(end) or end < max(raw_ids[name], default=0):
                raise self.error(
                    f"raw_id_ends.{name}: {end!r} is not the last id of an entry of raw_ids.",
                    "Give a name of raw_ids and the highest id that its label files can hold.",
                )
        return {str(name): end for name, end in ends.items()}

    def subsets(self, entries: Mapping, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        result: dict[str, tuple[int, ...]] = {}
        for subset, members in entries.items():
            if not isinstance(members, Sequence) or isinstance(members, str):
                raise self.error(f"subsets.{subset}: {members!r} is no list of classes.")
            ids = [names.index(m) if m in names else m for m in members]
            for member in ids:
                if not _is_id(member) or member >= len(names):
                    raise self.error(
                        f"subsets.{subset}: {member!r} is no class.",
                        f"Use class names or ids in 0..{len(names) - 1}.",
                    )
            result[str(subset)] = tuple(ids)
        return result


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID
