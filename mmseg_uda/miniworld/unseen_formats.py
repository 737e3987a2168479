"""The on-disk formats of BDD100K, Mapillary Vistas v1.2 and IDD.

References: Yu et al., "BDD100K" (JPEG pictures, PNG trainIds); Neuhold et al., "The Mapillary
Vistas Dataset" (JPEG, 8-bit palette PNG of 66 ids); Varma et al., "IDD" (folders of Cityscapes'
kind per drive; level-3 ids as the public label tool writes them).
"""

from __future__ import annotations

from pathlib import Path

import cv2
from PIL import Image

from mmseg_uda.miniworld.detail_classes import idd_table, vistas_palette, vistas_table
from mmseg_uda.miniworld.domains import Frame
from mmseg_uda.miniworld.formats import write_array, write_atomically, write_rgb

JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)
# Drives of the public IDD splits.
DRIVES = {"train": ("0", "1", "10"), "val": ("119", "132")}


def frame_stem(domain: str, split: str, index: int) -> str:
    """Path of a frame below its image folder, without suffix.

    >>> frame_stem("bdd", "val", 3), frame_stem("idd", "val", 3)
    ('val/00000003-0ba5eba1', 'val/132/frame0003')
    >>> frame_stem("mapillary", "validation", 3)
    'miniworldvalidation003'
    """
    if domain == "bdd":
        return f"{split}/{index:08x}-0ba5eba1"
    if domain == "mapillary":
        return f"miniworld{split}".ljust(22 - len(f"{index:03d}"), "-") + f"{index:03d}"
    return f"{split}/{DRIVES[split][index % len(DRIVES[split])]}/frame{index:04d}"


def image_path(root: Path, domain: str, split: str, index: int) -> Path:
    """Where the picture of a frame lies below the data set's root."""
    stem = frame_stem(domain, split, index)
    return {
        "bdd": root / "images" / f"{stem}.jpg",
        "mapillary": root / split / "images" / f"{stem}.jpg",
        "idd": root / "leftImg8bit" / f"{stem}_leftImg8bit.png",
    }[domain]


def write_frame(root: Path, domain: str, split: str, index: int, frame: Frame) -> None:
    """Writes picture and label of one frame in the format of the real data set."""
    stem, image = frame_stem(domain, split, index), image_path(root, domain, split, index)
    if domain == "bdd":
        write_array(root / "labels" / f"{stem}.png", frame.label)
        write_rgb(image, frame.image, *JPEG)
    elif domain == "mapillary":
        label = Image.fromarray(vistas_table()[frame.detail], mode="P")
        label.putpalette(vistas_palette().ravel().tolist())
        path = root / split / "labels" / f"{stem}.png"
        write_atomically(path, lambda name: label.save(name, format="PNG"))
        write_rgb(image, frame.image, *JPEG)
    else:
        label_path = root / "gtFine" / f"{stem}_gtFine_labellevel3Ids.png"
        write_array(label_path, idd_table()[frame.detail])
        write_rgb(image, frame.image)
