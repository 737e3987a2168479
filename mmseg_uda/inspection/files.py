"""Which files of a data set are used, and which are not although they look as if they should be."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmseg_uda.findings import Finding, Level
from mmseg_uda.taxonomy.folders import scan

from .data_sets import AREA, DataSet

SAMPLE = 200
"""Files whose size is asked for at the start of a training."""
KINDS = 4
"""Endings in one message."""
LABEL_WORDS = frozenset(
    (
        *("label", "labels", "labelids", "labeltrainids", "labelcolor", "trainids", "ids", "gt"),
        *("gtfine", "gtcoarse", "groundtruth", "mask", "masks", "seg", "segmentation", "semantic"),
        *("semantics", "annotation", "annotations", "annot", "ann", "color", "colour", "colored"),
        *("instance", "instances", "instanceids", "panoptic", "depth", "disparity", "pred"),
        *("preds", "prediction", "predictions", "overlay", "confidence", "polygons", "invids"),
        *(
            "invgray",
            "panopticids",
            "depthany",
            "edges",
            "normals",
            "parsing",
            "preview",
            "vis",
            "blend",
        ),
    )
)
"""Words that name what belongs to an image, in lower case without separators."""
LABEL_FOLDERS = LABEL_WORDS - {"color", "colour", "colored", "ids", "vis", "edges", "overlay"}
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")


def check_files(one: DataSet) -> list[Finding]:
    """Compares the images in use with what lies beside them, by names alone."""
    found = [*_empty(one, _spread(one.images), _spread(one.labels)), *_repeated(one)]
    if one.location.file_list is None:  # else the user has chosen
        found += [*_left_out(one), *_taken_in(one), *_without_image(one)]
    return found


def check_all_sizes(one: DataSet) -> list[Finding]:
    """Finds every file without content; :func:`check_files` looks at a few."""
    return _empty(one, one.images, one.labels)


def _warning(message: str, fix: str, **details: object) -> Finding:
    return Finding(AREA, Level.WARNING, message, fix, details)


def _spread(names: Sequence[str]) -> Sequence[str]:
    return names[:: max(1, len(names) // SAMPLE)]


def _empty(one: DataSet, images: Iterable[str], labels: Iterable[str]) -> list[Finding]:
    paths = [*map(one.image_path, images), *map(one.label_path, labels)]
    empty = [path for path in paths if os.path.isfile(path) and not os.path.getsize(path)]
    if not empty:
        return []
    message = f"{one.title}: {len(empty)} files have 0 bytes, the first is {empty[0]}"
    return [
        Finding(AREA, Level.PROBLEM, message, "copy them again, or remove them", {"empty": empty})
    ]


def _repeated(one: DataSet) -> list[Finding]:
    repeated = one.left.repeated
    if not repeated:
        return []
    where = f"{one.location.file_list} names {len(repeated)} images more than once"
    message = f"{one.title}: {where}, the first is {repeated[0]}; each is used once"
    return [_warning(message, "remove the lines", repeated=repeated)]


def _left_out(one: DataSet) -> list[Finding]:
    location, left = one.location, one.left
    findings = []
    stems = _stems(one)
    others = [
        name
        for name in left.others
        if not _belongs(name, location.img_suffix, stems) and not _in_label_folder(name)
    ]
    if others:
        endings = Counter(_ending(name, location.img_suffix) for name in others)
        kinds = [f"{ending} {count}" for ending, count in endings.most_common(KINDS)]
        kinds += ["..."] if len(endings) > KINDS else []
        findings.append(
            _warning(
                f"{one.title}: {len(one.images)} images that end with {location.img_suffix} are "
                f"used; {len(others)} files with other endings ({', '.join(kinds)}) are not, the "
                f"first is {min(others)}",
                "rename them, since a data set has one img_suffix; or move them elsewhere",
                others=sorted(others),
            )
        )
    if left.hidden:
        findings.append(
            _warning(
                f"{one.title}: {len(left.hidden)} images that are hidden, or lie in hidden or "
                f"system folders, are not used, the first is {min(left.hidden)}",
                "remove them if they are copies or thumbnails; else give them another name",
                hidden=sorted(left.hidden),
            )
        )
    if left.again:
        findings.append(
            _warning(
                f"{one.title}: {len(left.again)} links lead back or to a folder that is read "
                f"already, and are not followed again, the first is {min(left.again)}",
                "remove them; each image is used once",
                links=sorted(left.again),
            )
        )
    return findings


def _taken_in(one: DataSet) -> list[Finding]:
    """Images in use whose names say that they are something else."""
    suffix, stems = one.location.img_suffix, _stems(one)
    foreign = [name for name in one.images if _label_of(name[: -len(suffix)], stems)]
    foreign += [name for name in one.images if _in_label_folder(name)]
    if not foreign or len(foreign) == len(one.images):
        return []
    return [
        _warning(
            f"{one.title}: {len(set(foreign))} of the {len(one.images)} images in use are called "
            f"like labels of others, the first is {min(foreign)}",
            "move them out of img_dir, or list the images in a file_list; where they are the "
            "labels, label_dir and label_suffix tell them from images",
            foreign=sorted(set(foreign)),
        )
    ]


def _without_image(one: DataSet) -> list[Finding]:
    """Labels that no image belongs to: often half of a download."""
    location, folder = one.location, one.location.label_folder
    if folder is None or folder != Path(location.root, str(location.label_dir)):
        return []  # folders by weather condition hold other splits, too
    suffix, used = location.label_suffix, set(one.labels)
    stems = {name[: -len(suffix)] for name in used}
    orphans = sorted(
        name
        for name in scan(folder, suffix)
        if name not in used and not _label_of(name[: -len(suffix)], stems)
    )
    if folder == location.image_folder:
        images = set(one.images)
        orphans = [name for name in orphans if name not in images]
    if not orphans:
        return []
    return [
        _warning(
            f"{location.title}: {len(orphans)} labels have no image, e.g. "
            f"{Path(folder, orphans[0])}",
            "complete the images, unless the subset is intended",
            labels_without_image=orphans,
        )
    ]


def _stems(one: DataSet) -> set[str]:
    return {name[: -len(one.location.img_suffix)] for name in one.images}


def _belongs(name: str, suffix: str, stems: set[str]) -> bool:
    """Whether a file is named after an image: a label or preview beside it, not another image.

    That is the image's stem with another file type, or with words for labels behind it.
    """
    stem, kind = os.path.splitext(name)
    ours = _type(suffix).lower()
    family = JPEG if ours in JPEG else (ours,)
    return (stem in stems and kind.lower() not in family) or _label_of(stem, stems)


def _label_of(stem: str, stems: set[str]) -> bool:
    """Whether a stem is that of another image with words for labels behind it."""
    return any(_words(stem[len(head) :]) <= LABEL_WORDS for head in _heads(stem, stems))


def _heads(stem: str, stems: set[str]) -> list[str]:
    """Stems that a longer one begins with, up to a separator."""
    cuts = [match.start() for match in re.finditer(r"[_\-. ]", stem)]
    return [stem[:cut] for cut in cuts if stem[:cut] in stems]


def _words(text: str) -> set[str]:
    return {word for word in re.split(r"[_\-. ]+", text.lower()) if word}


def _in_label_folder(name: str) -> bool:
    return any(part.lower().replace("_", "") in LABEL_FOLDERS for part in name.split("/")[:-1])


def _ending(name: str, suffix: str) -> str:
    """What tells a file from the images in use: its type, or the word before it."""
    stem, kind = os.path.splitext(name)
    word = re.search(r"_[A-Za-z]\w*$", stem.rpartition("/")[2])
    return f"{word[0]}{kind}" if kind == _type(suffix) and word else kind


def _type(suffix: str) -> str:
    return suffix[suffix.rfind(".") :]
