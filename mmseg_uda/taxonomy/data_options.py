"""What the options of a data set say about its files, and which options it does not have."""

from __future__ import annotations

import difflib
import inspect
import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmseg_uda.data_root import resolve_data_root
from mmseg_uda.errors import UserError

from .file_lists import FORM
from .folders import IMAGE_ENDINGS, scan
from .layouts import DEPTH_FOLDER, LAYOUTS, Arrangement, Layout
from .published_splits import LIST_FOLDER
from .taxonomy import Taxonomy, load_taxonomy

FURTHER = frozenset(
    (
        *("pipeline", "taxonomy", "label_map", "crop_pseudo_margins", "metainfo"),
        *("indices", "test_mode", "lazy_init", "serialize_data", "max_refetch"),
    )
)
"""Options that concern no path."""
INSTEAD = {
    "ann_file": "file_list names the images in use, one per line",
    "data_prefix": "img_dir and label_dir name the folders below data_root",
    "seg_map_suffix": "label_suffix is what replaces img_suffix in the names of labels",
    "reduce_zero_label": "label_map={0: 255, 1: 0, 2: 1, ...} does the same, written out",
    "filter_cfg": "file_list names the images in use",
    "backend_args": "files are read from disk; mount or copy what lies elsewhere",
    "classes": "taxonomy is the name or the YAML file of a label space",
    "palette": "the taxonomy's file has a color for each class",
    "ann_dir": "label_dir names the folder of the labels",
    "ignore_index": "it is the taxonomy's ignore_index; label_map={0: 255} ignores an id",
}
"""Options of mmsegmentation's data sets that have no effect here: what takes their place."""
WITHOUT_EFFECT: tuple[Any, ...] = (
    "",
    None,
    False,
    {},
    {"img_path": "", "seg_map_path": ""},
    {"backend": "local"},
)
"""Values that ask for nothing."""
STOCK_LOADER = "LoadAnnotations"
"""mmsegmentation's transform that reads labels as they are."""
MARK = "MarkValid"
"""Name of the transform that uses ``crop_pseudo_margins``."""
TAXONOMY_SAYS = ("classes", "palette", "label_map", "reduce_zero_label")


def check_further(kind: str, options: Mapping[str, Any]) -> None:
    """Checks the options of a data set that concern no path.

    Args:
        kind: Its type, for messages.
        options: The options.

    Raises:
        UserError: An option is unknown, or would have no effect; says what to use.
    """
    known = sorted({*FURTHER, *PATHS})
    for name, value in options.items():
        if name in INSTEAD:
            unasked = any(type(value) is type(one) and value == one for one in WITHOUT_EFFECT)
            if name == "ignore_index":
                unasked = value == _taxonomy(options).ignore_index
            if not unasked:
                raise UserError(
                    f"{kind}: {name}={value!r} has no effect in data sets of mmseg_uda.",
                    fix=INSTEAD[name],
                )
        elif name not in known and not name.startswith("_"):
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"Did you mean {near[0]}? " if near else ""
            raise UserError(
                f"{kind} has no option {name!r}.", fix=f"{guess}Known: {', '.join(known)}."
            )
    _check_metainfo(kind, options)
    _check_indices(kind, options.get("indices"))
    _check_margins(kind, options)
    _check_loader(kind, options)


def _taxonomy(options: Mapping[str, Any]) -> Taxonomy:
    return load_taxonomy(options.get("taxonomy", "cityscapes19"))


def _check_metainfo(kind: str, options: Mapping[str, Any]) -> None:
    metainfo = options.get("metainfo") or {}
    if not isinstance(metainfo, Mapping):
        raise UserError(
            f"{kind}: metainfo={metainfo!r} is no dict.", fix="Write metainfo=dict(...)."
        )
    for name in TAXONOMY_SAYS:
        if name not in metainfo:
            continue
        ours = _taxonomy(options).metainfo().get(name)
        if ours is None or [*map(_plain, metainfo[name])] != [*map(_plain, ours)]:
            raise UserError(
                f"{kind}: metainfo.{name} is not that of the taxonomy, which alone says what "
                "labels mean.",
                fix="taxonomy= takes a YAML file with your classes; a label_map merges or "
                "ignores some.",
            )


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int)) else list(value)


def _check_indices(kind: str, indices: Any) -> None:
    several = isinstance(indices, (list, tuple, range))
    numbers = indices if several else [indices]
    whole = all(isinstance(i, int) and not isinstance(i, bool) for i in numbers)
    if indices is not None and (not whole or not numbers or (not several and indices == 0)):
        raise UserError(
            f"{kind}: indices={indices!r} chooses no images.",
            fix="A number takes that many from the beginning, a list those at its places, from 0.",
        )


def _check_loader(kind: str, options: Mapping[str, Any]) -> None:
    if options.get("label_map") is not None and STOCK_LOADER in _types(options):
        raise UserError(
            f"{kind}: label_map has no effect on {STOCK_LOADER}.",
            fix="Load labels with dict(type='LoadTrainIds'), and images with "
            "dict(type='LoadFrame').",
        )


def _types(options: Mapping[str, Any]) -> list[str]:
    """Names of the transforms in the pipeline."""
    steps = options.get("pipeline") or ()
    return [str(s.get("type")) if isinstance(s, Mapping) else type(s).__name__ for s in steps]


def _check_margins(kind: str, options: Mapping[str, Any]) -> None:
    steps = options.get("pipeline") or ()
    if options.get("crop_pseudo_margins") is None or not steps:
        return
    named = _types(options)
    if MARK not in named:
        raise UserError(
            f"{kind}: crop_pseudo_margins has no effect without {MARK} in the pipeline.",
            fix=f"Add dict(type={MARK!r}) behind LoadFrame, before any resize.",
        )
    mark = steps[named.index(MARK)]
    margins = mark.get("margins") if isinstance(mark, Mapping) else getattr(mark, "margins", None)
    if margins is not None:
        raise UserError(
            f"{kind}: crop_pseudo_margins has no effect beside {MARK}(margins={margins}).",
            fix="Set one of the two.",
        )


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
    return dict(
        title=layout.title,
        root=root,
        img_dir=img_dir,
        label_dir=None if images_only else label_dir,
        img_suffix=img_suffix,
        label_suffix=label_suffix,
        obtain=_own_advice(type, root, own_paths) if own else layout.obtain.format(root=root),
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
    if layout.published_split is None or Path(str(file_list)).parent.name != LIST_FOLDER:
        return FORM
    return f"Run: python tools/convert_datasets/splits.py {layout.published_split} {root}"


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
