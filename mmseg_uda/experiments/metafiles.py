"""``model-index.yml`` and a ``metafile.yml`` per folder of configs, as OpenMMLab's tools read them.

They are made from the configs, the tables and the methods' cards: ``tools/make_metafiles.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mmseg_uda.config_files import final_configs
from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.experiments.grid import Experiment, Row

INDEX = "model-index.yml"
METHODS = {
    "advseg": "AdvSeg",
    "camvid": "Real images",
    "cdda": "CDDA",
    "csi": "CSI",
    "daformer": "DAFormer",
    "dynalign": "DynAlign",
    "hrda": "HRDA",
    "mic": "MIC",
    "minent": "MinEnt",
    "srha": "SRHA",
    "ssda": "SSDA",
    "vfm": "VFM-UDA",
}
"""Folder below ``configs/`` -> name of the method."""
DATA = {
    "gta": "GTA",
    "gta16": "GTA, 16 classes",
    "syn": "SYNTHIA",
    "synthia": "SYNTHIA",
    "gtasyn": "GTA, SYNTHIA",
    "cs": "Cityscapes",
    "city": "Cityscapes",
    "acdc": "ACDC",
    "dzur": "Dark Zurich",
    "streets": "mini-GTA",
    "camvid": "CamVid",
    "idd": "IDD",
    "mapillary": "Mapillary Vistas",
    "cbm": "Cityscapes, BDD100K, Mapillary Vistas",
    "bm": "BDD100K, Mapillary Vistas",
    "bsg": "BDD100K, SYNTHIA, GTA",
}
"""Part of a config's name, SOURCE2TARGET -> data set."""
UNSEEN = ("cbm", "bsg")
PAIR = re.compile(r"(?:^|_)([a-z]+(?:16)?)(?:HR)?2([a-z]+)(?:HR)?(?=[_-]|$)")
PAPER = re.compile(r"\*([^*]+)\*[^*\[]*\[(?:arXiv|doi) [^\]]+\]\((https://[^)]+)\)")
LICENSE = "Apache-2.0"


def metafiles(tables: Sequence[Experiment], root: Path) -> dict[Path, str]:
    """Returns the content of every file.

    Args:
        tables: Whose published numbers stand in them; numbers that no report shows do not.
        root: Folder of the checkout, where the cards are.

    Returns:
        File, relative to ``root`` -> text.
    """
    published = _published(tables)
    models: dict[str, list[dict[str, Any]]] = {}
    for path in final_configs():
        row = published.get(f"{path.parent.name}/{path.stem}")
        models.setdefault(path.parent.name, []).append(_model(path, row))
    files = {
        Path("configs", folder, "metafile.yml"): _text(
            {"Collections": [_collection(folder, root)], "Models": own}
        )
        for folder, own in models.items()
    }
    return {Path(INDEX): _text({"Import": [path.as_posix() for path in files]}), **files}


def _published(tables: Sequence[Experiment]) -> dict[str, Row]:
    """Config -> the first row that trains it as it is and whose number may be shown."""
    rows = [row for table in tables for row in table.rows if row.shown]
    found: dict[str, Row] = {}
    for row in rows:
        if not row.changes:
            found.setdefault(str(row.config), row)
    plain = {f"{path.parent.name}/{path.stem}" for path in final_configs()} - found.keys()
    for row in rows:
        # Others of their table name what the config says anyway.
        if str(row.config) in plain and row.resolved == plain_config(row.config):
            found.setdefault(str(row.config), row)
    return found


def _collection(folder: str, root: Path) -> dict[str, Any]:
    below = "models/segmentors" if folder == "hrda" else f"methods/{folder}"
    card = Path("mmseg_uda", below, "README.md")
    collection: dict[str, Any] = {"Name": METHODS.get(folder, folder), "License": LICENSE}
    if (root / card).is_file():
        paper = PAPER.search((root / card).read_text(encoding="utf-8"))
        if paper:
            collection["Paper"] = {"Title": " ".join(paper[1].split()), "URL": paper[2]}
        collection["README"] = card.as_posix()
    return {**collection, "Frameworks": ["PyTorch"]}


def _model(path: Path, row: Row | None) -> dict[str, Any]:
    pair = PAIR.search(path.stem)
    source, target = (DATA.get(name, name) for name in pair.groups()) if pair else ("", "")
    data = {"Training Data": source} if source else {}
    alone = (plain_config(path).get("uda") or {}).get("type") == "Supervised"
    if pair and pair[2] not in UNSEEN and not alone:
        data["Target Data"] = f"{target} (images)"
    model: dict[str, Any] = {
        "Name": path.stem,
        "In Collection": METHODS.get(path.parent.name, path.parent.name),
        "Config": f"configs/{path.parent.name}/{path.name}",
        "Metadata": data,
        "Framework": "PyTorch",
    }
    if row is not None and row.shown is not None:
        metrics = {k: v for k, v in row.shown.values.items() if not k.startswith("IoU.")}
        data["Published"] = row.shown.origin
        model["Results"] = {"Task": "Semantic Segmentation", "Dataset": target, "Metrics": metrics}
    return model


def _text(content: dict[str, Any]) -> str:
    note = "# Made by tools/make_metafiles.py from configs, tables and cards; do not edit.\n"
    return note + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
