"""The original on-disk formats of the real data sets.

Each writer stores one frame; the picture comes last, so a frame whose picture exists is whole.

References: Richter et al., "Playing for Data" (palette PNG of Cityscapes label ids); Ros et al.,
"The SYNTHIA dataset" (16-bit, three channels, class in the red one); Cordts et al., "The
Cityscapes dataset"; Sakaridis et al., "ACDC"; Yang et al., "Depth Anything V2" (8-bit relative
inverse depth).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmseg_uda.miniworld.canvas import VOID
from mmseg_uda.miniworld.domains import Frame
from mmseg_uda.taxonomy import load_taxonomy

TAXONOMY = "cityscapes19"
CITIES = {"train": ("minaburg", "norderau", "suedlingen"), "val": ("valdorf", "westhausen")}


@cache
def raw_id_table(dataset: str) -> NDArray[np.uint8]:
    """(256,) table from trainId to the data set's own raw id, 0 for unlabelled."""
    table = np.zeros(256, np.uint8)
    for raw, train_id in load_taxonomy(TAXONOMY).raw_ids[dataset].items():
        if raw >= 0 and train_id != VOID:
            table[train_id] = raw
    return table


@cache
def synthia_id_table() -> NDArray[np.uint8]:
    """Like ``raw_id_table('synthia')`` for a label set without terrain, truck and train.

    SYNTHIA labels grass as vegetation and trucks as cars; trains do not occur.
    """
    taxonomy = load_taxonomy(TAXONOMY)
    table = raw_id_table("synthia").copy()
    table[taxonomy.class_id("terrain")] = table[taxonomy.class_id("vegetation")]
    table[taxonomy.class_id("truck")] = table[taxonomy.class_id("car")]
    table[taxonomy.class_id("train")] = 0
    return table


@cache
def _gta_palette() -> list[int]:
    taxonomy = load_taxonomy(TAXONOMY)
    palette = np.zeros((256, 3), np.uint8)
    for train_id, raw in enumerate(raw_id_table("gta")[: len(taxonomy.classes)]):
        palette[raw] = taxonomy.palette[train_id]
    return palette.ravel().tolist()


def quantize_depth(inverse: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Relative inverse depth (H, W): 255 is nearest, 0 farthest, scaled per image."""
    low, high = float(inverse.min()), float(inverse.max())
    if high <= low:
        return np.zeros(inverse.shape, np.uint8)
    return ((inverse - low) / (high - low) * 255).astype(np.uint8)


def write_atomically(path: Path, save: Callable[[str], object]) -> None:
    """Calls ``save`` with a temporary name next to ``path``, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    save(str(partial))
    os.replace(partial, path)


def write_array(path: Path, array: NDArray) -> None:
    """Writes an image file of any channels and depth atomically."""
    write_atomically(path, lambda name: cv2.imwrite(name, array))


def write_rgb(path: Path, image: NDArray[np.uint8], *options: int) -> None:
    """Writes an RGB picture (H, W, 3) atomically; ``options`` are OpenCV's, in pairs."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    write_atomically(path, lambda name: cv2.imwrite(name, bgr, list(options)))


def frame_stem(domain: str, split: str, index: int) -> str:
    """Path of a frame below its image folder, without suffix.

    >>> frame_stem("gta", "train", 0), frame_stem("synthia", "train", 0)
    ('00001', '0000000')
    """
    if domain == "gta":
        return f"{index + 1:05d}"
    if domain == "synthia":
        return f"{index:07d}"
    if domain == "cityscapes":
        city = CITIES[split][index % len(CITIES[split])]
        return f"{split}/{city}/{city}_{index:06d}_000019"
    return f"{split}/GP010{index // 100:03d}_frame_{index:06d}"


def image_path(root: Path, domain: str, split: str, index: int) -> Path:
    """Where the picture of a frame lies below the data set's root."""
    stem = frame_stem(domain, split, index)
    return {
        "gta": root / "images" / f"{stem}.png",
        "synthia": root / "RGB" / f"{stem}.png",
        "cityscapes": root / "leftImg8bit" / f"{stem}_leftImg8bit.png",
        "acdc": root / "rgb_anon" / f"{stem}_rgb_anon.png",
    }[domain]


def write_frame(root: Path, domain: str, split: str, index: int, frame: Frame) -> None:
    """Writes picture, label and depth of one frame in the format of the real data set."""
    stem = frame_stem(domain, split, index)
    depth = quantize_depth(frame.inverse)
    if domain == "gta":
        label = Image.fromarray(raw_id_table("gta")[frame.label], mode="P")
        label.putpalette(_gta_palette())
        path = root / "labels" / f"{stem}.png"
        write_atomically(path, lambda name: label.save(name, format="PNG"))
        write_array(root / "depth_any" / f"{stem}.png", depth)
    elif domain == "synthia":
        raw = np.zeros((*frame.label.shape, 3), np.uint16)
        raw[..., 2] = synthia_id_table()[frame.label]
        raw[..., 1] = frame.instance
        write_array(root / "GT" / "LABELS" / f"{stem}.png", raw)
        write_array(root / "depth_any" / f"{stem}.png", depth)
    elif domain == "cityscapes":
        ids = np.where(frame.border > 0, frame.border, raw_id_table("cityscapes")[frame.label])
        write_array(root / "gtFine" / f"{stem}_gtFine_labelIds.png", ids.astype(np.uint8))
        write_array(root / "depth_any" / f"{stem}_depth.png", depth)
    else:
        write_array(root / "gt" / f"{stem}_gt_labelTrainIds.png", frame.label)
        write_array(root / "depth_any" / f"{stem}_depth.png", depth)
    write_rgb(image_path(root, domain, split, index), frame.image)
