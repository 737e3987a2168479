"""From the ids in label files to the classes of a taxonomy."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmseg_uda.errors import UserError, of_many
from mmseg_uda.labels import count_ids, read_label
from mmseg_uda.pool import map_in_processes
from mmseg_uda.progress import track

IGNORED = 255
MOST_IDS = 150  # beyond, labels are photographs, or were compressed like them
MIN_PARALLEL = 200  # files


@dataclass
class Ids:
    """What label files hold.

    Attributes:
        pixels: Id -> number of pixels.
        files: Id -> number of files.
        total: Number of all files.
    """

    pixels: Counter[int] = field(default_factory=Counter)
    files: Counter[int] = field(default_factory=Counter)
    total: int = 0

    def share(self, value: int) -> str:
        """Returns in words how frequent an id is: '3.1 % of the pixels, in 20 of 24 labels'."""
        part = 100 * self.pixels[value] / max(1, self.pixels.total())
        return f"{part:.2g} % of the pixels, in {self.files[value]} of {self.total} labels"


@dataclass(frozen=True)
class ClassOf:
    """A class and the id that label files have for it."""

    value: int
    name: str
    thing: bool = False


def count_labels(paths: Sequence[str]) -> Ids:
    """Counts the ids in label files, with a progress bar.

    Raises:
        UserError: Labels cannot be read; names them. Or they hold too many ids to be labels.
    """
    title = f"Counting ids in {len(paths)} label files"
    if len(paths) < MIN_PARALLEL:
        counts: Iterator[dict[int, int] | UserError] = map(_count, track(paths, title))
    else:
        workers = min(os.cpu_count() or 1, 16)
        counts = track(map_in_processes(_count, paths, workers, chunk=16), title, len(paths))
    found, failures = Ids(total=len(paths)), []
    for one in counts:
        if isinstance(one, UserError):
            failures.append(one)
        else:
            found.pixels.update(one)
            found.files.update(one.keys())
    if failures:
        raise of_many(failures, len(paths), "label files cannot be used")
    if len(found.pixels) > MOST_IDS:
        raise UserError(
            f"The labels hold {len(found.pixels)} different ids, e.g. {paths[0]}.",
            fix="Labels are PNGs with the id of a class in each pixel; a photograph, or a label "
            "that was saved as JPEG, holds grey values. Export them anew.",
        )
    return found


def decide_classes(
    found: Ids,
    names: Sequence[str] = (),
    ignored: Sequence[int] = (),
    things: Sequence[str] = (),
    ask: Callable[[int], str] | None = None,
) -> list[ClassOf]:
    """Says what each id stands for.

    Args:
        found: The ids.
        names: ``ID=NAME`` for some ids, or names alone for all of them in ascending order.
        ignored: Ids of unlabelled pixels. 255 is one, unless ``names`` has it or only two values
            are there, 0 and 255.
        things: Names of classes of countable objects.
        ask: Id -> its name, where none is given; '-' for unlabelled.

    Returns:
        The classes, in ascending order of their ids; ids that are left out are unlabelled.

    Raises:
        UserError: Names do not fit the ids, or fewer than two classes are left.
    """
    given = _given(names)
    present = sorted(found.pixels)
    left_out = set(ignored)
    if IGNORED not in given and [i for i in present if i not in left_out] != [0, IGNORED]:
        left_out.add(IGNORED)
    classes = [i for i in present if i not in left_out]
    plain = [name for name in names if "=" not in name]
    if plain:
        if given or len(plain) != len(classes):
            raise UserError(
                f"--classes has {len(names)} entries; the labels hold {len(classes)} ids: "
                f"{', '.join(map(str, classes))}.",
                fix="Give a name for each id in this order, or ID=NAME; --ignore leaves one out.",
            )
        given = dict(zip(classes, plain, strict=True))
    result = []
    for value in sorted({*classes, *given} - set(ignored)):
        name = given.get(value) or (ask(value) if ask else "") or f"class_{value}"
        if name != "-":
            result.append(ClassOf(value, name, name in things))
    twice = [name for name, n in Counter(one.name for one in result).items() if n > 1]
    unknown = sorted({*things} - {one.name for one in result})
    if twice or unknown:
        what = f"'{twice[0]}' names two ids" if twice else f"--things has '{unknown[0]}', no class"
        raise UserError(f"{what}.", fix="Give each class one name; --ignore ID leaves ids out.")
    if len(result) < 2:
        raise UserError(
            f"The labels hold ids {', '.join(map(str, present))}, of which "
            f"{', '.join(one.name for one in result) or 'none'} is a class.",
            fix="A training tells two classes apart at least: --classes 0=ground 255=object names "
            "them.",
        )
    return result


def _given(names: Sequence[str]) -> dict[int, str]:
    given = {}
    for entry in names:
        value, equals, name = entry.partition("=")
        if not equals:
            continue
        if not value.strip().isdecimal() or int(value) > IGNORED or not name.strip():
            raise UserError(
                f"--classes {entry!r} is no id in 0..{IGNORED} with a name.",
                fix="Write for example --classes 7=water 9='fishing boat'.",
            )
        given[int(value)] = name.strip()
    return given


def label_map(classes: Sequence[ClassOf], found: Ids) -> Mapping[int, int]:
    """Returns id -> trainId for all ids; empty where the ids are the trainIds already."""
    table = {one.value: number for number, one in enumerate(classes)}
    whole = {value: table.get(value, IGNORED) for value in sorted({*found.pixels, *table})}
    return {} if all(value == number for value, number in whole.items()) else whole


def _count(path: str) -> dict[int, int] | UserError:
    try:
        counts = count_ids(read_label(path))
    except UserError as error:
        return error
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
