"""Do the ids of label files mean what the data set's taxonomy and label map say?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmseg_uda.findings import Finding, Level
from mmseg_uda.labels import Counts, LabelIds
from mmseg_uda.taxonomy import LAYOUTS, Taxonomy
from mmseg_uda.wording import counted, listed

from .data_sets import AREA

RARE = 0.02  # share of files up to which something odd is nothing to speak of
JPEG = (".jpg", ".jpeg")
MANY_IDS = 24  # distinct ids beyond the classes: no label, or one that was compressed like a photo

VISTAS_1, VISTAS_2 = 65, 123  # last ids of releases 1.2 and 2.0


@dataclass(frozen=True)
class IdSpace:
    """What the ids in a data set's labels are taken for.

    Attributes:
        title: Name of the data set for messages.
        taxonomy: Its label space.
        label_map: As its config says.
        type: Its type; a published data set may be known not to have some classes.
        trains: Whether it teaches the classes, or is evaluated only.
    """

    title: str
    taxonomy: Taxonomy
    label_map: Any = None
    type: str = ""
    trains: bool = True
    ids: LabelIds = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", LabelIds.of(self.taxonomy, self.label_map))

    @property
    def expected(self) -> list[int]:
        """The classes that its labels should show: reachable, and not known to be missing."""
        layout = LAYOUTS.get(self.type)
        known = layout.absent if layout else ()
        return [
            i
            for i, name in enumerate(self.taxonomy.classes)
            if name not in known and (self.ids.lookup == i).any()
        ]


def judge_ids(space: IdSpace, labels: Mapping[str, Counts], total: int) -> list[Finding]:
    """Compares ids that were found in label files with what they are taken for.

    Args:
        space: What they are taken for.
        labels: Label file -> pixels by id as the file holds them.
        total: Number of label files; with fewer in ``labels``, nothing is said about classes that
            may be in the others.
    """
    if not labels:
        return []
    found = _outside(space, labels) or _already_mapped(space, labels)
    if found:
        return found
    classes = {name: _classes(space, counts) for name, counts in labels.items()}
    return [
        *_unlisted(space, labels),
        *_absent(space, labels, classes, total),
        *_blank(space, classes),
        *_two_customs(space, labels),
    ]


def _outside(space: IdSpace, labels: Mapping[str, Counts]) -> list[Finding]:
    wrong = {
        name: space.ids.outside(np.array(sorted(counts), np.int64))
        for name, counts in labels.items()
    }
    wrong = {name: ids for name, ids in wrong.items() if ids.size}
    if not wrong:
        return []
    first, ids = next(iter(wrong.items()))
    where = f"no ids of {space.ids.space}" if space.ids.space else "outside the taxonomy"
    size = f"{space.taxonomy.name}: {len(space.taxonomy)} classes"
    text = (
        f"{space.title}: {counted(wrong, labels, 'labels')} hold ids that are {where} ({size}), "
        f"e.g. {first} holds id{'s' if len(ids) > 1 else ''} {listed(ids.tolist())}."
    )
    present = {i for counts in labels.values() for i in counts}
    fix = _suggestion(space, present, int(ids[0]))
    if first.lower().endswith(JPEG):
        fix = "Export the labels as PNG: JPEG changes ids along borders."
    return [Finding(AREA, Level.PROBLEM, text, fix=fix, details={"files": list(wrong)})]


def _suggestion(space: IdSpace, present: set[int], outside: int) -> str:
    """A label map that fits the ids, as far as they tell."""
    classes, ignored = len(space.taxonomy), space.ids.ignore_index
    ids, highest = sorted(present), max(present - {ignored})
    if VISTAS_1 < highest <= VISTAS_2 and "mapillary" in space.ids.space + space.taxonomy.name:
        return (
            f"These are ids of Mapillary Vistas 2.0 (0..{VISTAS_2}): use the labels of release "
            "1.2, or a dict id -> trainId as label_map."
        )
    if space.ids.space:
        return "Use labels of that data set and release, or a dict id -> trainId as label_map."
    if len(ids) > classes + MANY_IDS:
        return (
            f"So many different ids ({len(ids)}) are those of a photograph, or of a label that was "
            "saved as JPEG: export the labels as PNG."
        )
    published = [name for name, end in space.taxonomy.raw_id_ends.items() if end == classes]
    if highest == classes and published and space.label_map is None:
        return f"label_map={published[0]!r} reads ids 0..{classes}, {classes} as unlabelled"
    if len(ids) == classes:  # grey levels
        return f"If these are the classes in order: label_map={ {i: n for n, i in enumerate(ids)} }"
    if highest == classes:
        one_less = {
            **({0: ignored} if 0 in ids else {}),
            **{i: i - 1 for i in range(1, classes + 1)},
        }
        return (
            f"If {classes} stands for unlabelled: label_map={{{classes}: {ignored}}}; if classes "
            f"are counted from 1: label_map={one_less}"
        )
    if ignored in present and len(ids) <= classes + 1:
        example = {outside: ignored, ignored: classes - 1}
        return (
            f"Say what each of the ids {listed(ids)} stands for, e.g. label_map={example} if "
            f"{outside} is unlabelled and {ignored} '{space.taxonomy.classes[-1]}'."
        )
    ends = space.taxonomy.raw_id_ends.items()
    maps = [repr(name) for name, end in ends if highest <= end and space.label_map is None]
    raw = f"Set label_map={' or '.join(maps)} if they are ids of that data set. " if maps else ""
    return (
        f"{raw}Convert the labels to trainIds (tools/convert_datasets), or say what such ids stand "
        f"for: label_map={{{outside}: {ignored}}} takes {outside} as unlabelled."
    )


def _unlisted(space: IdSpace, labels: Mapping[str, Counts]) -> list[Finding]:
    """Ids that a raw map of the user's neither lists nor refuses."""
    name = space.label_map
    if not space.ids.space or name in space.taxonomy.raw_id_ends:
        return []
    known = {*space.taxonomy.raw_ids[name], space.ids.ignore_index}
    unlisted = {file: sorted(set(counts) - known) for file, counts in labels.items()}
    unlisted = {file: ids for file, ids in unlisted.items() if ids}
    if not unlisted:
        return []
    first = next(iter(unlisted))
    ids = sorted({i for found in unlisted.values() for i in found})
    text = (
        f"{space.title}: ids {listed(ids)} in {counted(unlisted, labels, 'labels')} are not listed "
        f"in raw_ids.{name} and count as unlabelled, e.g. in {first}."
    )
    fix = f"List them, with {space.ids.ignore_index} for unlabelled; or set raw_id_ends.{name}."
    return [Finding(AREA, Level.WARNING, text, fix=fix)]


def _already_mapped(space: IdSpace, labels: Mapping[str, Counts]) -> list[Finding]:
    """TrainIds that are read as raw ids: those hold no 255, and higher ones."""
    end = space.taxonomy.raw_id_ends.get(str(space.label_map), 0)
    present = {i for counts in labels.values() for i in counts}
    highest = max(present - {space.ids.ignore_index}, default=0)
    if end < len(space.taxonomy) or space.ids.ignore_index not in present:
        return []
    if highest >= len(space.taxonomy):
        return []
    text = (
        f"{space.title}: its labels look like trainIds (0..{highest} and "
        f"{space.ids.ignore_index}), but label_map={space.label_map!r} reads ids of "
        f"{space.ids.space}, e.g. in {next(iter(labels))}."
    )
    return [Finding(AREA, Level.WARNING, text, fix="Leave label_map out if they are trainIds.")]


def _absent(
    space: IdSpace, labels: Mapping[str, Counts], classes: Mapping[str, set[int]], total: int
) -> list[Finding]:
    names, ignored = space.taxonomy.classes, space.ids.ignore_index
    present = {i for found in classes.values() for i in found if i != ignored}
    absent = [i for i in space.expected if i not in present]
    complete = len(labels) == total
    unlabelled = any(ignored in found for found in classes.values())
    # Of a part of the files, only what every file of this kind would show says anything.
    single = len(names) == 2 and len(absent) == 1 and (complete or unlabelled)
    some_absent = absent and (single or (complete and space.trains))
    if present and not some_absent:
        return []
    some = f"none of the {total} labels" if complete else f"none of {len(labels)} labels looked at"
    what = ", ".join(names[i] for i in absent) if present else "any class"
    fix = "Check label_map and conversion; a class that the data set does not have costs nothing."
    details = {"absent": [names[i] for i in absent]}
    raw = {i for counts in labels.values() for i in counts if space.ids.lookup[i] == ignored}
    if unlabelled and len(absent) == 1 and raw == {ignored}:
        fix = (
            f"{ignored} is the id of unlabelled pixels; if it stands for '{names[absent[0]]}', set "
            f"label_map={{{ignored}: {absent[0]}}}."
        )
    text = f"{space.title}: {some} has a pixel of {what}."
    return [Finding(AREA, Level.WARNING, text, fix=fix, details=details)]


def _blank(space: IdSpace, classes: Mapping[str, set[int]]) -> list[Finding]:
    """Labels without a labelled pixel; with all of them, no class is there at all."""
    blank = [name for name, found in classes.items() if found <= {space.ids.ignore_index}]
    if not blank or len(blank) == len(classes) or len(blank) <= RARE * len(classes):
        return []
    some = counted(blank, classes, "labels")
    text = f"{space.title}: {some} hold no labelled pixel, e.g. {blank[0]}."
    return [Finding(AREA, Level.WARNING, text, fix="Remove these pairs, or label them.")]


def _two_customs(space: IdSpace, labels: Mapping[str, Counts]) -> list[Finding]:
    """Masks of 0 and 255 among masks of 0 and 1: the object is 1 here and ignored there."""
    ignored = space.ids.ignore_index
    if len(space.taxonomy) != 2 or space.ids.lookup[ignored] != ignored:
        return []
    bits = [name for name, counts in labels.items() if 1 in counts]
    bytes_ = [name for name, counts in labels.items() if {0, ignored} <= set(counts)]
    if not bits or not bytes_ or set(bits) & set(bytes_):
        return []
    box = space.taxonomy.classes[1]
    text = (
        f"{space.title}: {counted(bytes_, labels, 'labels')} hold 0 and {ignored}, others 0 and 1: "
        f"'{box}' may be {ignored} in some files, where it counts as unlabelled, e.g. {bytes_[0]}."
    )
    return [
        Finding(AREA, Level.WARNING, text, fix=f"label_map={{{ignored}: 1}} reads both as '{box}'.")
    ]


def _classes(space: IdSpace, counts: Counts) -> set[int]:
    """TrainIds, the ignored one among them, with a pixel."""
    return {int(space.ids.lookup[i]) for i, pixels in counts.items() if pixels}
