"""A small GTA and a small Cityscapes with depth files, and banks made of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmseg.registry import DATASETS
from tiny_data import write_image, write_label

CROP = (32, 32)
SIDE = 16
SOURCE_STEPS = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeFields", scale=(60, 40)),
    dict(type="CropFields", crop_size=CROP, cat_max_ratio=0.95),
    dict(type="FlipFields", prob=0.5),
    dict(type="PackFields"),
]
TARGET_STEPS = [
    dict(type="LoadFrame"),
    dict(type="ResizeFields", scale=(80, 40)),
    dict(type="LoadRemappedDepth"),
    dict(type="CropFields", crop_size=CROP),
    dict(type="FlipFields", prob=0.5),
    dict(type="PackFields"),
]


def halves(left: int, right: int) -> np.ndarray:
    """(SIDE, SIDE) uint8 with two values."""
    array = np.full((SIDE, SIDE), left, np.uint8)
    array[:, SIDE // 2 :] = right
    return array


def write_depth(path: Path, depth: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), depth.astype(np.uint8))


def blocks(seed: int, height: int, width: int, classes: list[int], side: int = 8) -> np.ndarray:
    """A label map of square blocks."""
    cells = np.random.default_rng(seed).choice(classes, (-(-height // side), -(-width // side)))
    return np.kron(cells, np.ones((side, side), np.uint8))[:height, :width].astype(np.uint8)


def write_world(root: Path, frames: int = 6, classes: tuple[int, ...] = (0, 1, 2, 8, 13)) -> Path:
    """GTA with some unlabelled blocks; depth depends on the row and a little on the class."""
    for i in range(frames):
        label = blocks(i, 40, 60, [*classes, 255])
        write_image(root / f"gta/images/{i:05d}.png", 40, 60, seed=i)
        write_label(root / f"gta/labels/{i:05d}_labelTrainIds.png", label)
        rows = np.arange(40)[:, None] * 4
        write_depth(root / f"gta/depth_any/{i:05d}.png", (rows + label % 16).clip(0, 255))
        stem = f"train/ulm/ulm_{i:06d}"
        write_image(root / f"cityscapes/leftImg8bit/{stem}_leftImg8bit.png", 40, 80, seed=50 + i)
        rows = np.repeat(rows, 80, axis=1)
        write_depth(root / f"cityscapes/depth_any/{stem}_depth.png", rows)
    return root


def pair_config(root: Path, **changes) -> dict:
    """Config of the ``DomainPairDataset`` of this world."""
    config = dict(
        type="DomainPairDataset",
        source=dict(type="GTA", data_root=str(root / "gta"), pipeline=SOURCE_STEPS),
        target=dict(
            type="Cityscapes",
            data_root=str(root / "cityscapes"),
            images_only=True,
            pipeline=TARGET_STEPS,
        ),
        rare_class_sampling=dict(min_pixels=10, class_temp=0.1, min_crop_ratio=0.5),
    )
    return {**config, **changes}


def pair(root: Path, **changes):
    return DATASETS.build(pair_config(root, **changes))


def write_bank(folder: Path, labels, depths, seed: int = 0, num_classes: int = 19) -> Path:
    """A bank of given crops, lists of (h, w) arrays, with random images."""
    from mmseg_uda.methods.cdda import count_bank
    from mmseg_uda.methods.cdda.bank import BankMeta

    for n, (label, depth) in enumerate(zip(labels, depths, strict=True)):
        write_image(folder / f"images/{n}.png", *label.shape, seed=1000 * seed + n)
        write_label(folder / f"labels/{n}.png", label)
        write_depth(folder / f"depth/{n}.png", depth)
    meta = BankMeta(len(labels), num_classes, tuple(labels[0].shape), remap="exp", rate=6.0)
    return count_bank(folder, meta)
