"""Do names of label files and folders say that their ids are others than those expected?"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, problem
from mmseg_uda.taxonomy import DataLocation, Taxonomy, available_taxonomies

from .data_sets import AREA, DataSet

# What the end of a label file's name tells about its pixels, in the data sets that use such names.
ENDINGS = {
    r"instance\w*ids$": "instance ids",
    r"inv(ids|gray)$": "masks of uncertain regions",
    r"(label)?colou?r$": "colours",
    r"labelcstrainids$|labeltrainids$|train_id$": "trainIds",
    r"labelids$|labelcsids$": "label ids",
    r"labellevel[1234]ids$": "level ids",
}
CAMVID_COLOURS = "_L.png"
VISTAS_1, VISTAS_2 = "v1.2", "v2.0"
VISTAS_FIX = (
    "Use the labels of release 1.2 (label_dir='.../v1.2/labels'), or a dict id -> trainId as "
    "label_map."
)


def check_names(one: DataSet) -> list[Finding]:
    """Looks at the names of label folders and files, and of files beside them."""
    error = wrong_names(one.location, one.taxonomy, one.label_map)
    return [] if error is None else [problem(AREA, error)]


def wrong_names(location: DataLocation, taxonomy: Taxonomy, label_map: Any) -> UserError | None:
    """Returns the error that the names of label files contradict taxonomy and label map.

    Own taxonomies may have ids of any name; a label map that is a dict is the user's word.
    """
    if location.label_dir is None or isinstance(label_map, dict):
        return None
    folder = Path(location.root, location.label_dir)
    error = wrong_release(folder, taxonomy, label_map)
    if error is not None:
        return error
    configs = [Path(location.root, f"config_{name}.json") for name in (VISTAS_2, VISTAS_1)]
    unnamed = _reads_vistas(taxonomy, label_map) and VISTAS_1 not in folder.parts
    if unnamed and configs[0].is_file() and not configs[1].is_file():
        return UserError(
            f"{configs[0]} says that {folder} holds labels of Mapillary Vistas 2.0 (ids 0..123); "
            f"{_expected(taxonomy, label_map)}.",
            fix=f"{VISTAS_FIX}; if these are labels of 1.2, put its {configs[1].name} beside them.",
        )
    if taxonomy.name not in available_taxonomies():
        return None
    if location.label_suffix == CAMVID_COLOURS and taxonomy.name == "camvid11":
        return UserError(
            f"{folder}: *{CAMVID_COLOURS} are CamVid's colour-coded labels of 32 classes; "
            f"{_expected(taxonomy, label_map)}.",
            fix=f"Convert them: python tools/convert_datasets/camvid.py {location.root} --gt-dir "
            f"{location.label_dir}; then set label_suffix='_L_labelTrainIds.png' and leave "
            "label_map out.",
        )
    stem = PurePosixPath(location.label_suffix).stem.lower()
    kind = next((k for pattern, k in ENDINGS.items() if re.search(pattern, stem)), None)
    fix = _fix(kind, location.label_suffix, taxonomy, label_map)
    if kind is None or fix is None:
        return None
    return UserError(
        f"{location.title}: label files *{location.label_suffix} hold {kind}; "
        f"{_expected(taxonomy, label_map)}.",
        fix=fix,
    )


def wrong_release(folder: Path, taxonomy: Taxonomy, label_map: Any) -> UserError | None:
    """Returns the error that a folder holds labels of another release than is read."""
    if not _reads_vistas(taxonomy, label_map) or VISTAS_2 not in folder.parts:
        return None
    return UserError(
        f"{folder} holds labels of Mapillary Vistas 2.0 (ids 0..123); "
        f"{_expected(taxonomy, label_map)}.",
        fix=VISTAS_FIX,
    )


def _reads_vistas(taxonomy: Taxonomy, label_map: Any) -> bool:
    return label_map == "mapillary12" or (taxonomy.name == "mapillary66" and label_map is None)


def _expected(taxonomy: Taxonomy, label_map: Any) -> str:
    space = taxonomy.space_of(label_map)
    if space:
        return f"label_map={label_map!r} reads ids of {space}"
    if taxonomy.name == "mapillary66":
        return "taxonomy 'mapillary66' reads ids of release 1.2 (0..65)"
    return f"taxonomy {taxonomy.name!r} reads ids 0..{len(taxonomy) - 1}"


def _fix(kind: str | None, suffix: str, taxonomy: Taxonomy, label_map: Any) -> str | None:
    """How to read files of a kind; None where that is what is done."""
    raw = bool(taxonomy.space_of(label_map))
    level = re.search(r"level([1234])", suffix)
    if kind in ("instance ids", "colours", "masks of uncertain regions"):
        return "Set label_suffix to the files with one class id per pixel."
    if kind == "trainIds" and raw:
        return "Leave label_map out: trainIds need none."
    if taxonomy.name == "idd26":
        if level and level[1] == "3":
            return None
        return "Set label_suffix='_gtFine_labellevel3Ids.png' (the label tool's id type level3Id)."
    if level:
        return "Set taxonomy='idd26' (level 3), or label_suffix='_gtFine_labelcsTrainIds.png'."
    if kind == "label ids" and not raw and "cityscapes" in taxonomy.raw_ids:
        return "Set label_map='cityscapes', or use *_labelTrainIds.png (tools/convert_datasets)."
    return None
