"""Where the files of a data set lie, and what of it is missing.

No torch and no decoding: the experiment runner asks here before it starts a training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError

from .file_lists import check_listed, entry_of, read_list
from .layouts import (
    DEPTH_FOLDER,
    DEPTH_LOADER,
    LAYOUTS,
    Arrangement,
    Layout,
    MissingPath,
    resolve_data_root,
)


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
        depth_dir: Folder of the depth files below the root.
        depth_suffix: End of depth file names.
        render: How to make the depth files.
        file_list: File below the root with the names of the images in use, without suffix; a name
            without folders stands for the one image of that name, wherever it lies. None: all.
        make_list: How to make the list.
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
    depth_dir: str = DEPTH_FOLDER
    depth_suffix: str = ".png"
    render: str = ""
    file_list: str | None = None
    make_list: str = ""

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
        depth_dir: str | None = None,
        depth_suffix: str | None = None,
        file_list: str | None = None,
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
        root = resolve_data_root(data_root or layout.root)
        if img_dir is None and label_dir is None:
            layout = _as_found(layout, split, root, images_only)
        default_img, default_label = layout.splits.get(split, (None, None))
        label_dir = label_dir or default_label
        if label_dir is None and not images_only:
            raise UserError(
                f"The {split} images of {layout.title} have no labels.",
                fix="set images_only=True, or label_dir to your own label folder",
            )
        img_dir = img_dir if img_dir is not None else str(default_img)
        img_suffix = img_suffix or layout.img_suffix
        depth_dir = depth_dir or depth_folder_of(img_dir)
        depth_suffix = depth_suffix or layout.depth_suffix or _as_png(img_suffix)
        known = f"--dataset {type} --split {split} --root {root}"
        own = (
            f"--images {root}/{img_dir} --img-suffix {img_suffix} --out {root}/{depth_dir} "
            f"--depth-suffix {depth_suffix}"
        )
        return cls(
            title=layout.title,
            root=root,
            img_dir=img_dir,
            label_dir=None if images_only else label_dir,
            img_suffix=img_suffix,
            label_suffix=label_suffix or layout.label_suffix,
            obtain=layout.obtain.format(root=root),
            convert=layout.convert.format(root=root) if layout.convert else None,
            per_condition=layout.per_condition,
            depth_dir=depth_dir,
            depth_suffix=depth_suffix,
            render="python tools/render_depth.py " + (known if type in LAYOUTS else own),
            file_list=file_list,
            make_list=_list_command(layout, root),
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

    @property
    def depth_folder(self) -> Path:
        """Folder that depth file names are relative to."""
        folder = Path(self.root, self.depth_dir)
        return folder.parent if self._by_condition else folder

    def iter_images(self) -> Iterator[str]:
        """Yields image names in no particular order.

        Raises:
            UserError: The list of images is missing or empty.
        """
        split = Path(self.img_dir).name
        listed = None if self.file_list is None else set(self._listed())
        for name in scan(self.image_folder, self.img_suffix):
            if self._by_condition and name.split("/")[1:2] != [split]:
                continue
            if listed is None or entry_of(name[: -len(self.img_suffix)], listed) is not None:
                yield name

    def _listed(self) -> list[str]:
        path = Path(self.root, str(self.file_list))
        if not path.is_file():
            raise MissingPath(self.title, str(path), self.make_list).as_error()
        return read_list(path)

    def images(self) -> list[str]:
        """Returns all image names, sorted.

        Raises:
            UserError: There is no image, or one that is listed is missing or there twice.
        """
        names = sorted(self.iter_images())
        if not names:
            raise self.missing()[0].as_error()
        if self.file_list is not None:
            stems = [name[: -len(self.img_suffix)] for name in names]
            where = f"{self.title} ({self.image_folder}, {self.file_list})"
            check_listed(where, self._listed(), stems, fix=self.obtain)
        return names

    def label_name(self, image: str) -> str:
        """Returns the name of an image's label."""
        return image[: -len(self.img_suffix)] + self.label_suffix

    def depth_name(self, image: str) -> str:
        """Returns the name of an image's depth file.

        >>> DataLocation.create("Cityscapes").depth_name("ulm/ulm_0_leftImg8bit.png")
        'ulm/ulm_0_depth.png'
        """
        return image[: -len(self.img_suffix)] + self.depth_suffix

    def missing(self, depth: bool = False) -> list[MissingPath]:
        """Returns what is missing, without decoding a file.

        Args:
            depth: Whether depth files are needed.

        Labels and depth files are checked for one image.
        """
        if self.file_list is not None and not Path(self.root, self.file_list).is_file():
            path = str(Path(self.root, self.file_list))
            others = replace(self, file_list=None).missing(depth)
            return [*others, MissingPath(self.title, path, self.make_list)]
        result = []
        first = next(self.iter_images(), None)
        if depth and first is not None:
            path = str(Path(str(self.depth_folder), self.depth_name(first)))
            if not os.path.isfile(path):
                result.append(MissingPath(f"{self.title} depth", path, self.depth_fix()))
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

    def depth_fix(self) -> str:
        """Returns how to make the depth files."""
        return (
            f"put the depth maps that come with CDDA into {self.root}/{self.depth_dir}, or render "
            f"them: {self.render}"
        )

    def label_fix(self) -> str:
        """Returns how to make the labels: convert raw ones if there are any, else get them."""
        if self.convert is None:
            return self.obtain
        folder = Path(self.root, str(self.label_dir))
        if next(scan(folder, ""), None) is None:
            return f"{self.obtain}; then run: {self.convert}"
        return f"run: {self.convert}"


def _as_found(layout: Layout, split: str, root: str, images_only: bool) -> Layout:
    """The layout, or the first of its other ones if only that one's folders exist."""
    here = Arrangement(layout.splits, layout.label_suffix)
    for one in (here, *layout.others) if layout.others else ():
        if split not in one.splits:
            continue
        images, labels = one.splits[split]
        if next(scan(Path(root, images), layout.img_suffix), None) is None:
            continue
        if images_only or next(scan(Path(root, str(labels)), one.label_suffix), None) is not None:
            return replace(layout, splits=one.splits, label_suffix=one.label_suffix)
    return layout


def _list_command(layout: Layout, root: str) -> str:
    if layout.published_split is None:
        return "write one image name per line, without suffix"
    return f"run: python tools/convert_datasets/splits.py {layout.published_split} {root}"


def _as_png(suffix: str) -> str:
    return suffix[: suffix.rfind(".")] + ".png"


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


def depth_folder_of(img_dir: str) -> str:
    """Returns where the depth files of an image folder lie: ``depth_any`` for its first part.

    >>> depth_folder_of("images"), depth_folder_of("leftImg8bit/train")
    ('depth_any', 'depth_any/train')
    """
    return str(Path(DEPTH_FOLDER, *Path(img_dir).parts[1:]))


def parts_of(dataset_cfg: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the data sets inside the config of a wrapper: of a pair, a list of targets, ..."""
    parts = [dataset_cfg[key] for key in ("source", "target", "dataset") if dataset_cfg.get(key)]
    if dataset_cfg.get("images"):  # of aligned labels, which an earlier job may have to make first
        parts.append({**dataset_cfg["images"], "images_only": True})
    parts += dataset_cfg.get("datasets") or ()
    return [*parts, *(dataset_cfg.get("targets") or {}).values()]


def missing_paths(dataset_cfg: Mapping[str, Any] | None, depth: bool = False) -> list[MissingPath]:
    """Returns what a data set config needs and does not find on disk.

    Args:
        dataset_cfg: Config of one of our data sets, of a ``DomainPairDataset`` or of a wrapper with
            a ``dataset`` key. Data sets of other packages are not looked at.
        depth: Depth files are needed even if no transform of the pipeline loads them.
    """
    if not dataset_cfg:
        return []
    nested = parts_of(dataset_cfg)
    if nested:
        return [path for cfg in nested for path in missing_paths(cfg, depth)]
    if dataset_cfg.get("type") not in {*LAYOUTS, "TaxonomyDataset"}:
        return []
    loads = any(step.get("type") == DEPTH_LOADER for step in dataset_cfg.get("pipeline") or ())
    return DataLocation.create(**dataset_cfg).missing(depth or loads)
