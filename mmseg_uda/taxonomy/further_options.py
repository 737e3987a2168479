"""The options of a data set that concern no path, and those that it does not have."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from mmseg_uda.errors import UserError

from .data_options import PATHS
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
