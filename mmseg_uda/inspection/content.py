"""What a look at some of a data set's files shows: damage, values, ids, colours of palettes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level
from mmseg_uda.labels import LabelIds
from mmseg_uda.wording import counted

from .data_sets import AREA, TRAINING, DataSet
from .ids import IdSpace, judge_ids
from .look import (
    LabelContent,
    Values,
    chosen,
    depth_values,
    image_values,
    look_at,
)

T = TypeVar("T")
FLAT = 3  # difference of values that noise of a compressed blank frame makes
DARK = 24  # of 255: below this a whole image is as good as black
USED = 1 / 16  # share of a 16-bit range; 12 bits use as much


def check_images(one: DataSet) -> list[Finding]:
    """Looks for damaged, blank, almost black and transparent images."""
    paths = [one.image_path(one.images[i]) for i in chosen(one.image_headers)]
    looked = look_at(paths, image_values)
    images = {**_decoded(one), **_sound(looked)}
    transparent = [path for path, values in images.items() if values.transparent]
    text, fix = "have transparent pixels", "save the images as they should look, without alpha"
    return [
        *_damaged(one, looked, "images"),
        *_ranges(one, images, "images", "the network sees black"),
        *_told(one, transparent, images, "images", text, fix),
    ]


def check_depth(one: DataSet) -> list[Finding]:
    """Looks for depth files that are damaged, blank, or of another range."""
    names = [one.images[i] for i in chosen(one.depth_headers)]
    looked = look_at([one.depth_of(name) for name in names], depth_values)
    return [
        *_damaged(one, looked, "depth files"),
        *_ranges(one, _sound(looked), "depth files", "everything is far away"),
    ]


def check_labels(one: DataSet) -> list[Finding]:
    """Compares ids and palettes of labels with taxonomy and label map."""
    space, total = id_space(one), len(one.labels)
    if one.reports:  # all were decoded, and each damaged one is told
        return judge_ids(space, one.counts, total)
    looked = one.label_contents
    return [
        *_damaged(one, looked, "labels"),
        *judge_ids(space, one.counts, total),
        *_palettes(one, _sound(looked)),
    ]


def id_space(one: DataSet) -> IdSpace:
    """Returns what the ids in a data set's labels are taken for."""
    kind = str(one.item.get("type"))
    return IdSpace(one.title, one.taxonomy, one.label_map, kind, TRAINING in one.roles)


def _decoded(one: DataSet) -> dict[str, Values]:
    """Values of all images, if they were decoded, in 8 bits."""
    return {
        one.image_path(report.image): Values(report.low, report.high)
        for report in one.reports
        if report.low is not None and report.high is not None
    }


def _sound(looked: Mapping[str, T | UserError]) -> dict[str, T]:
    return {path: v for path, v in looked.items() if not isinstance(v, UserError)}


def _damaged(one: DataSet, looked: Mapping[str, T | UserError], what: str) -> Iterator[Finding]:
    errors = {path: v for path, v in looked.items() if isinstance(v, UserError)}
    if errors:
        first = next(iter(errors.values()))
        text = f"{one.title}: {first.message.rstrip('.')} ({counted(errors, looked, what)})."
        yield Finding(
            AREA, Level.PROBLEM, text, fix=first.fix or "", details={"files": list(errors)}
        )


def _ranges(
    one: DataSet, looked: Mapping[str, Values], what: str, effect: str
) -> Iterator[Finding]:
    blank = [path for path, v in looked.items() if v.high - v.low <= FLAT]
    fix = f"remove the blank {what}, or replace them"
    yield from _told(one, blank, looked, what, "show one value only", fix)
    rest = {path: v for path, v in looked.items() if v.high - v.low > FLAT}
    for bits, limit in ((16, USED * 65536), (8, DARK)):
        low = {path: v.high for path, v in rest.items() if v.bits == bits and v.high < limit}
        most = max(low.values(), default=0)
        text = f"hold values up to {most} of {2**bits - 1} ({effect})"
        fix = f"stretch the values to 0..{2**bits - 1}; {most.bit_length()} bits are used"
        yield from _told(one, list(low), looked, what, text, fix)


def _told(
    one: DataSet, some: list[str], looked: Mapping[str, object], what: str, text: str, fix: str
) -> Iterator[Finding]:
    if some:
        message = f"{one.title}: {counted(some, looked, what)} looked at {text}, e.g. {some[0]}."
        yield Finding(AREA, Level.WARNING, message, fix=fix)


def _palettes(one: DataSet, labels: Mapping[str, LabelContent]) -> Iterator[Finding]:
    """Palettes whose colours are those of other classes than their indices stand for."""
    taxonomy, ids = one.taxonomy, LabelIds.of(one.taxonomy, one.label_map)
    classes = {colour: i for i, colour in reversed(list(enumerate(taxonomy.palette)))}
    for path, content in labels.items():
        shown = {i: classes[c] for i, c in content.palette.items() if c in classes}
        taken = {i: int(ids.lookup[i]) for i in shown}
        wrong = [i for i in shown if shown[i] != taken[i] and taken[i] < len(taxonomy)]
        if len(wrong) > len(shown) / 2:
            i = wrong[0]
            names = taxonomy.classes
            text = (
                f"{one.title}: in {path}, id {i} has the palette's colour of "
                f"'{names[shown[i]]}' and is read as '{names[taken[i]]}' "
                f"(so {len(wrong)} of its {len(content.counts)} ids)."
            )
            fix = f"If colours are right: label_map={ {k: shown[k] for k in sorted(shown)} }."
            yield Finding(AREA, Level.WARNING, text, fix=fix)
            return
