"""What the options of a data set say about its files."""

from __future__ import annotations

import inspect
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmseg_uda.data_root import resolve_data_root
from mmseg_uda.errors import UserError

from .file_lists import FORM
from .folders import IMAGE_ENDINGS, scan
from .layouts import DEPTH_FOLDER, LAYOUTS, Arrangement, Layout
from .published_splits import LIST_FOLDER


def complete(
    type: str = "TaxonomyDataset",
    data_root: str | None = None,
    split: str | None = None,
    img_dir: str | None = None,
    label_dir: str | None = None,
    img_suffix: str | None = None,
    label_suffix: str | None = None,
    images_only: bool = False,
    depth_dir: str | None = None,
    depth_suffix: str | None = None,
    file_list: str | None = None,
) -> dict[str, Any]:
    """Completes the options of a data set with its published layout.

    Args: those of ``TaxonomyDataset``.

    Returns:
        The fields of a ``DataLocation``.

    Raises:
        UserError: An option is missing or wrong, or the data set has no such split.
    """
    places = dict(
        data_root=data_root,
        img_dir=img_dir,
        label_dir=label_dir,
        depth_dir=depth_dir,
        file_list=file_list,
    )
    for name, value in places.items():
        if value is not None and not isinstance(value, str):
            raise UserError(
                f"{type}: {name}={value!r} is no path.",
                fix="Write one path as a text; several data sets are several entries of the "
                "config.",
            )
    if not isinstance(images_only, bool):
        raise UserError(f"{type}: images_only={images_only!r} is neither True nor False.")
    layout = LAYOUTS.get(type)
    own_paths = any(option is not None for option in (img_dir, label_dir, img_suffix, label_suffix))
    own_depth = any(option is not None for option in (img_dir, img_suffix, depth_dir, depth_suffix))
    if layout is None:
        if data_root is None or img_dir is None or (label_dir is None and not images_only):
            raise UserError(
                f"{type}: data_root, img_dir and label_dir say where the files lie; "
                "one of them is missing.",
                fix="Set them, or images_only=True for images without labels.",
            )
        if split is not None:
            raise UserError(
                f"{type}: split={split!r} has no effect, since it has no published folders.",
                fix="img_dir and label_dir name the folders of a split, file_list its images.",
            )
        layout = Layout(type, data_root, {}, ".png", ".png", "")
    split = split or "train"
    if layout.splits and split not in layout.splits:
        raise UserError(
            f"{layout.title} has no split '{split}'.",
            fix=f"Use {', '.join(layout.splits)}; img_dir and label_dir name other folders.",
        )
    root = resolve_data_root(data_root or layout.root)
    if img_dir is None and label_dir is None:
        layout = _as_found(layout, split, root, images_only)
    if file_list is None and layout.file_list is not None:
        file_list = layout.file_list.format(split=split)
    default_img, default_label = layout.splits.get(split, (None, None))
    label_dir = label_dir if label_dir is not None else default_label
    if label_dir is None and not images_only:
        raise UserError(
            f"The {split} images of {layout.title} have no labels.",
            fix="Set images_only=True, or label_dir to your own label folder.",
        )
    img_dir = img_dir if img_dir is not None else str(default_img)
    img_suffix = _suffix(type, "img_suffix", img_suffix) or layout.img_suffix
    label_suffix = _suffix(type, "label_suffix", label_suffix) or layout.label_suffix
    if not images_only and img_suffix == label_suffix and _same_folder(img_dir, label_dir):
        raise UserError(
            f"{type}: every image in {Path(root, img_dir)} would be its own label.",
            fix="Set label_suffix to what the names of labels end with, or label_dir to their "
            "folder.",
        )
    depth_dir = depth_dir or depth_folder_of(img_dir)
    depth_suffix = _suffix(type, "depth_suffix", depth_suffix)
    depth_suffix = depth_suffix or layout.depth_suffix or _as_png(img_suffix)
    known = f"--dataset {type} --split {split} --root {shlex.quote(root)}"
    images, depths = shlex.quote(f"{root}/{img_dir}"), shlex.quote(f"{root}/{depth_dir}")
    folders = (
        f"--images {images} --img-suffix {img_suffix} --out {depths} --depth-suffix {depth_suffix}"
    )
    published = type in LAYOUTS and not own_depth
    own = _is_own(type, root, own_paths)
    parent = os.path.dirname(os.path.normpath(root)) or "."
    obtain = layout.obtain.format(root=root, parent=parent)
    return dict(
        title=layout.title,
        root=root,
        img_dir=img_dir,
        label_dir=None if images_only else label_dir,
        img_suffix=img_suffix,
        label_suffix=label_suffix,
        obtain=_own_advice(type, root, own_paths) if own else obtain,
        convert=layout.convert.format(root=root) if layout.convert and not own_paths else None,
        per_condition=layout.per_condition,
        depth_dir=depth_dir,
        depth_suffix=depth_suffix,
        render=f"python tools/render_depth.py {known if published else folders}",
        file_list=file_list,
        make_list=_list_advice(layout, root, file_list),
        own=own,
    )


def _suffix(kind: str, option: str, suffix: str | None) -> str | None:
    """A suffix with its dot; None without one."""
    if suffix is None:
        return None
    if not isinstance(suffix, str) or not suffix or set(suffix) & set("*?[]"):
        raise UserError(
            f"{kind}: {option}={suffix!r} is not what the names of files end with.",
            fix=f"For example {option}='.jpg': one ending, no pattern and no list.",
        )
    return f".{suffix}" if f".{suffix.lower()}" in IMAGE_ENDINGS else suffix


def _same_folder(img_dir: str, label_dir: str | None) -> bool:
    return label_dir is not None and os.path.normpath(img_dir) == os.path.normpath(label_dir)


def _is_own(kind: str, root: str, own_paths: bool) -> bool:
    """Whether files are the user's: in other places than the published ones below the root."""
    if kind not in LAYOUTS or own_paths:
        return True
    # Under another name it may be the published data set all the same, if it is still to come.
    return Path(root).name != Path(LAYOUTS[kind].root).name and _holds_anything(root)


def _holds_anything(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False


def _own_advice(kind: str, root: str, own_paths: bool) -> str:
    """How to get images that are missing, if they are the user's."""
    if kind not in LAYOUTS or own_paths:
        return "Check data_root, img_dir and img_suffix of this data set in the config."
    return (
        f"Check data_root={root!r} of this data set in the config; docs/data.md shows the folders "
        f"that type={kind!r} reads, and img_dir and label_dir name others."
    )


def _list_advice(layout: Layout, root: str, file_list: str | None) -> str:
    """How to get a list that is missing."""
    if file_list is not None and Path(file_list).exists():
        return f"file_list lies below data_root, or is a whole path: {os.path.abspath(file_list)}"
    if layout.file_list is not None and layout.convert is not None:
        return f"Run: {layout.convert.format(root=root)}"
    if layout.published_split is None or Path(str(file_list)).parent.name != LIST_FOLDER:
        return FORM
    return f"Run: python tools/convert_datasets/splits.py {layout.published_split} {root}"


def _as_found(layout: Layout, split: str, root: str, images_only: bool) -> Layout:
    """The layout, or the first of its other ones if only that one's folders exist.

    Where none has labels yet, images alone tell; a message then names the labels to make there.
    """
    here = Arrangement(layout.splits, layout.label_suffix)
    unlabelled = []
    for one in (here, *layout.others) if layout.others else ():
        if split not in one.splits:
            continue
        images, labels = one.splits[split]
        found = replace(
            layout,
            splits=one.splits,
            label_suffix=one.label_suffix,
            img_suffix=one.img_suffix or layout.img_suffix,
            convert=one.convert or layout.convert,
            file_list=one.file_list,
        )
        if next(scan(Path(root, images), found.img_suffix), None) is None:
            continue
        if images_only or next(scan(Path(root, str(labels)), one.label_suffix), None) is not None:
            return found
        unlabelled.append(found)
    return unlabelled[0] if unlabelled else layout


def _as_png(suffix: str) -> str:
    return suffix[: suffix.rfind(".")] + ".png"


def depth_folder_of(img_dir: str) -> str:
    """Returns where the depth files of an image folder lie: ``depth_any`` for its first part.

    >>> depth_folder_of("images"), depth_folder_of("leftImg8bit/train")
    ('depth_any', 'depth_any/train')
    """
    return str(Path(DEPTH_FOLDER, *Path(img_dir).parts[1:]))


PATHS = frozenset(inspect.signature(complete).parameters) - {"type"}
"""Options that say where files lie and how they are called."""
