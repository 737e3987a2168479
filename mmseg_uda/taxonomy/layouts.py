"""Where the files of each data set lie, what is missing, and how to get and convert it.

No torch and no decoding: the experiment runner asks here before it starts a training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError

DATA_ROOT_VARIABLE = "MMSEG_UDA_DATA_ROOT"


@dataclass(frozen=True)
class Layout:
    """The published folder layout of one data set.

    Attributes:
        title: Name for messages.
        root: Default root folder.
        splits: split -> (image folder, label folder or None), relative to the root.
        img_suffix: End of image file names.
        label_suffix: What replaces it in label file names.
        obtain: Where to get the data set and where to put it.
        convert: Command that makes the trainId labels; ``{root}`` stands for the root folder.
        per_condition: The split folders also exist one level deeper, once per weather condition.
    """

    title: str
    root: str
    splits: Mapping[str, tuple[str, str | None]]
    img_suffix: str
    label_suffix: str
    obtain: str
    convert: str | None = None
    per_condition: bool = False


LAYOUTS: dict[str, Layout] = {
    "GTA": Layout(
        title="GTA",
        root="data/gta",
        splits={"train": ("images", "labels")},
        img_suffix=".png",
        label_suffix="_labelTrainIds.png",
        obtain="download all image and label packages of 'Playing for Data' from "
        "https://download.visinf.tu-darmstadt.de/data/from_games/ and unpack them to "
        "{root}/images and {root}/labels",
        convert="python tools/convert_datasets/gta.py {root} --nproc 8",
    ),
    "SYNTHIA": Layout(
        title="SYNTHIA",
        root="data/synthia",
        splits={"train": ("RGB", "GT/LABELS")},
        img_suffix=".png",
        label_suffix="_labelTrainIds.png",
        obtain="download SYNTHIA-RAND-CITYSCAPES from http://synthia-dataset.net/downloads/ and "
        "unpack it to {root}, so that {root}/RGB and {root}/GT/LABELS exist",
        convert="python tools/convert_datasets/synthia.py {root} --nproc 8",
    ),
    "Cityscapes": Layout(
        title="Cityscapes",
        root="data/cityscapes",
        splits={
            "train": ("leftImg8bit/train", "gtFine/train"),
            "val": ("leftImg8bit/val", "gtFine/val"),
            "test": ("leftImg8bit/test", None),
        },
        img_suffix="_leftImg8bit.png",
        label_suffix="_gtFine_labelTrainIds.png",
        obtain="download leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from "
        "https://www.cityscapes-dataset.com/downloads/ and unpack both to {root}",
        convert="python tools/convert_datasets/cityscapes.py {root} --nproc 8",
    ),
    "ACDC": Layout(
        title="ACDC",
        root="data/acdc",
        splits={
            "train": ("rgb_anon/train", "gt/train"),
            "val": ("rgb_anon/val", "gt/val"),
            "test": ("rgb_anon/test", None),
        },
        img_suffix="_rgb_anon.png",
        label_suffix="_gt_labelTrainIds.png",
        obtain="download rgb_anon_trainvaltest.zip and gt_trainval.zip from "
        "https://acdc.vision.ee.ethz.ch/download and unpack both to {root} (the folders may stay "
        "sorted by condition, or be flattened to rgb_anon/train, gt/train, ...)",
        per_condition=True,
    ),
    "DarkZurich": Layout(
        title="Dark Zurich",
        root="data/dark_zurich",
        splits={
            # The training images have no labels.
            "train": ("rgb_anon/train/night", None),
            "val": ("rgb_anon/val", "gt/val"),
            "test": ("rgb_anon/test", None),
        },
        img_suffix="_rgb_anon.png",
        label_suffix="_gt_labelTrainIds.png",
        obtain="download Dark_Zurich_train_anon.zip, Dark_Zurich_val_anon.zip and "
        "Dark_Zurich_test_anon_withoutGt.zip from "
        "https://www.trace.ethz.ch/publications/2019/GCMA_UIoU/ and unpack them to {root}",
    ),
}


@dataclass(frozen=True)
class MissingPath:
    """A file or folder that a config needs and that does not exist.

    Attributes:
        dataset: Title of the data set.
        path: The missing path (a pattern if no file matches it).
        fix: How to get or make it.
    """

    dataset: str
    path: str
    fix: str

    def __str__(self) -> str:
        return f"{self.dataset}: {self.path} is missing\n  Fix: {self.fix}"

    def as_error(self) -> UserError:
        """Returns the error to raise when this path is needed now."""
        return UserError(f"{self.dataset}: {self.path} is missing.", self.fix)


def resolve_data_root(data_root: str) -> str:
    """Replaces a leading ``data/`` by the folder in the variable MMSEG_UDA_DATA_ROOT, if set."""
    root = os.environ.get(DATA_ROOT_VARIABLE)
    parts = Path(data_root).parts
    if not root or Path(data_root).is_absolute() or parts[:1] != ("data",):
        return data_root
    return str(Path(root, *parts[1:]))


@dataclass(frozen=True)
class DataLocation:
    """The files of one split of a data set.

    Image and label names are relative POSIX paths; the label of an image lies at the same relative
    path in the label folder, with the suffix replaced.

    Attributes:
        title: Name for messages.
        root: Root folder.
        img_dir: Image folder below the root.
        label_dir: Label folder below the root; None for images without labels.
        img_suffix: End of image file names.
        label_suffix: End of label file names.
        obtain: How to get the data set.
        convert: How to make its trainId labels.
        per_condition: See ``Layout``.
    """

    title: str
    root: str
    img_dir: str
    label_dir: str | None
    img_suffix: str
    label_suffix: str
    obtain: str = ""
    convert: str | None = None
    per_condition: bool = field(default=False, repr=False)

    @classmethod
    def create(
        cls,
        type: str = "TaxonomyDataset",
        data_root: str | None = None,
        split: str = "train",
        img_dir: str | None = None,
        label_dir: str | None = None,
        img_suffix: str | None = None,
        label_suffix: str | None = None,
        images_only: bool = False,
        **other: Any,
    ) -> DataLocation:
        """Completes the options of a data set with its published layout.

        Args: those of ``TaxonomyDataset``; options that concern no path are ignored.

        Raises:
            UserError: An option is missing or the data set has no such split.
        """
        layout = LAYOUTS.get(type)
        if layout is None:
            if data_root is None or img_dir is None or (label_dir is None and not images_only):
                raise UserError(
                    f"{type}: data_root, img_dir and label_dir say where the files lie; "
                    "one of them is missing.",
                    fix="set them, or images_only=True for images without labels",
                )
            layout = Layout(type, data_root, {}, ".png", ".png", "check the path in the config")
        elif split not in layout.splits and (img_dir is None or label_dir is None):
            raise UserError(
                f"{layout.title} has no split '{split}'.", f"use {', '.join(layout.splits)}"
            )
        default_img, default_label = layout.splits.get(split, (None, None))
        label_dir = label_dir or default_label
        if label_dir is None and not images_only:
            raise UserError(
                f"The {split} images of {layout.title} have no labels.",
                fix="set images_only=True, or label_dir to your own label folder",
            )
        root = resolve_data_root(data_root or layout.root)
        return cls(
            title=layout.title,
            root=root,
            img_dir=img_dir if img_dir is not None else str(default_img),
            label_dir=None if images_only else label_dir,
            img_suffix=img_suffix or layout.img_suffix,
            label_suffix=label_suffix or layout.label_suffix,
            obtain=layout.obtain.format(root=root),
            convert=layout.convert.format(root=root) if layout.convert else None,
            per_condition=layout.per_condition,
        )

    @property
    def _by_condition(self) -> bool:
        """Whether the split folders lie below condition folders (ACDC as downloaded)."""
        return self.per_condition and not Path(self.root, self.img_dir).is_dir()

    @property
    def image_folder(self) -> Path:
        """Folder that image names are relative to."""
        folder = Path(self.root, self.img_dir)
        return folder.parent if self._by_condition else folder

    @property
    def label_folder(self) -> Path | None:
        """Folder that label names are relative to."""
        if self.label_dir is None:
            return None
        folder = Path(self.root, self.label_dir)
        return folder.parent if self._by_condition else folder

    def iter_images(self) -> Iterator[str]:
        """Yields image names in no particular order."""
        split = Path(self.img_dir).name
        for name in scan(self.image_folder, self.img_suffix):
            if not self._by_condition or name.split("/")[1:2] == [split]:
                yield name

    def images(self) -> list[str]:
        """Returns all image names, sorted.

        Raises:
            UserError: There is no image.
        """
        names = sorted(self.iter_images())
        if not names:
            raise self.missing()[0].as_error()
        return names

    def label_name(self, image: str) -> str:
        """Returns the name of an image's label."""
        return image[: -len(self.img_suffix)] + self.label_suffix

    def missing(self) -> list[MissingPath]:
        """Returns what is missing, without decoding a file. Labels are checked for one image."""
        first = next(self.iter_images(), None)
        result = []
        folder = Path(self.root, self.img_dir)
        if first is None:
            path = f"{folder}/**/*{self.img_suffix}" if folder.is_dir() else str(folder)
            result.append(MissingPath(self.title, path, self.obtain))
        if self.label_dir is None:
            return result
        label_folder = Path(self.root, self.label_dir)
        if first is not None:
            path = str(Path(str(self.label_folder), self.label_name(first)))
            if not os.path.isfile(path):
                result.append(MissingPath(self.title, path, self.label_fix()))
        elif next(scan(label_folder, self.label_suffix), None) is None:
            path = f"{label_folder}/**/*{self.label_suffix}"
            result.append(MissingPath(self.title, path, self.label_fix()))
        return result

    def label_fix(self) -> str:
        """Returns how to make the labels: convert raw ones if there are any, else get them."""
        if self.convert is None:
            return self.obtain
        folder = Path(self.root, str(self.label_dir))
        if next(scan(folder, ""), None) is None:
            return f"{self.obtain}; then run: {self.convert}"
        return f"run: {self.convert}"


def scan(folder: Path, suffix: str) -> Iterator[str]:
    """Yields the relative POSIX paths of all files below a folder that end with the suffix."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            entries = os.scandir(folder / prefix)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append(f"{prefix}{entry.name}/")
                elif entry.name.endswith(suffix) and not entry.name.startswith("."):
                    yield prefix + entry.name


def missing_paths(dataset_cfg: Mapping[str, Any] | None) -> list[MissingPath]:
    """Returns what a data set config needs and does not find on disk.

    Args:
        dataset_cfg: Config of one of our data sets, of a ``DomainPairDataset`` or of a wrapper with
            a ``dataset`` key. Data sets of other packages are not looked at.
    """
    if not dataset_cfg:
        return []
    nested = [dataset_cfg[key] for key in ("source", "target", "dataset") if key in dataset_cfg]
    if nested:
        return [path for cfg in nested for path in missing_paths(cfg)]
    if dataset_cfg.get("type") not in {*LAYOUTS, "TaxonomyDataset"}:
        return []
    return DataLocation.create(**dataset_cfg).missing()
