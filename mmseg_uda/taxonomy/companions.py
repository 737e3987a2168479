"""What the names of files say about each other: which belong to an image, which are labels."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping

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


def kinds(names: Iterable[str], suffix: str = "") -> str:
    """Counts names by what tells them from those that end with the suffix: '.JPG 3, .jpeg 1'."""
    endings = Counter(_ending(name, suffix) for name in names)
    shown = [f"{ending} {count}" for ending, count in endings.most_common(KINDS)]
    return ", ".join([*shown, "..."] if len(endings) > KINDS else shown)


def label_like(stems: Mapping[str, str]) -> list[str]:
    """Returns the files whose names say that they are labels; none if all of them are called so.

    Args:
        stems: Relative path without suffix -> with it.
    """
    known = set(stems)
    found = [
        name for stem, name in stems.items() if in_label_folder(name) or is_label_of(stem, known)
    ]
    return found if len(found) < len(stems) else []


def belongs(name: str, suffix: str, stems: set[str]) -> bool:
    """Whether a file is named after an image: a label or preview beside it, not another image.

    That is the image's stem with another file type, or with words for labels behind it.
    """
    stem, kind = os.path.splitext(name)
    ours = _type(suffix).lower()
    family = JPEG if ours in JPEG else (ours,)
    return (stem in stems and kind.lower() not in family) or is_label_of(stem, stems)


def is_label_of(stem: str, stems: set[str]) -> bool:
    """Whether a stem is that of another image with words for labels behind it."""
    tails = (_words(stem[len(head) :]) for head in _heads(stem, stems))
    return any(words and words <= LABEL_WORDS for words in tails)


def _heads(stem: str, stems: set[str]) -> list[str]:
    """Stems that a longer one begins with, up to a separator."""
    cuts = [match.start() for match in re.finditer(r"[_\-. ]", stem)]
    return [stem[:cut] for cut in cuts if stem[:cut] in stems]


def _words(text: str) -> set[str]:
    return {word for word in re.split(r"[_\-. ]+", text.lower()) if word}


def in_label_folder(name: str) -> bool:
    """Whether one of the folders that a file lies in is called like one of labels."""
    return any(part.lower().replace("_", "") in LABEL_FOLDERS for part in name.split("/")[:-1])


def _ending(name: str, suffix: str) -> str:
    """What tells a file from the images in use: its type, or the word before it."""
    stem, kind = os.path.splitext(name)
    word = re.search(r"_[A-Za-z]\w*$", stem.rpartition("/")[2])
    return f"{word[0]}{kind}" if kind == _type(suffix) and word else kind


def _type(suffix: str) -> str:
    return suffix[suffix.rfind(".") :]
