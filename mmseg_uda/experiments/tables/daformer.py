"""DAFormer's tables: networks and training strategies for adaptation.

Hoyer et al., CVPR 2022; arXiv 2111.14887. Dark Zurich and ACDC: TPAMI 2023 (arXiv 2304.13615).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg_uda.experiments.grid import Base, Experiment, Row
from mmseg_uda.experiments.tables import published
from mmseg_uda.experiments.tables.published import remembered

DAFORMER = "daformer/gta2cs_daformer"
DATA = "train_dataloader.dataset"


def network(name: str) -> dict[str, Any]:
    """Another network of ``configs/_base_/networks``."""
    return {"model": Base(f"networks/{name}", "model")}


def labelled(file: str, fragment: str) -> dict[str, Any]:
    """Training on labelled images alone, with distorted colours."""
    return {
        "uda": Base("recipes/default", "supervised"),
        f"{DATA}.source": Base(f"domains/{file}", fragment),
        f"{DATA}.target": None,
        f"{DATA}.rare_class_sampling": None,
    }


# What rows change in the final config of DAFormer, one dict per way of training.
NO_RCS = {f"{DATA}.rare_class_sampling": None}
STRATEGIES = {"uda": Base("recipes/default", "hrda"), "uda.alpha": 0.99}  # no margins
ALL_CELLS = {"uda.feature_distance.classes": None}
SOURCE_ONLY = labelled("gta", "source_gtaCAug")
ORACLE = labelled("cityscapes", "source_cityscapesCAug")
DACS = {"uda": Base("recipes/default", "dacs"), **NO_RCS}
UNIFORM = {
    "uda": Base("recipes/default", "dacs"),
    f"{DATA}.rare_class_sampling.class_temp": float("inf"),
}
RCS = {"uda": Base("recipes/default", "dacs")}
FD = {**STRATEGIES, **ALL_CELLS, **NO_RCS}
FD_THINGS = {**STRATEGIES, **NO_RCS}
FD_THINGS_RCS = STRATEGIES
COMPLETE: dict[str, Any] = {}
DEEPLAB = network("dlv2red_r101v1c")
NO_WARM_UP = {"param_scheduler": Base("recipes/default", "poly10")}

COLUMNS = {"source-only": SOURCE_ONLY, "UDA": DACS, "oracle": ORACLE}


def comparison(
    columns: Mapping[str, Mapping[str, Any]], *networks: tuple[Any, ...], **more: Any
) -> tuple[Row, ...]:
    """Rows of networks, each trained in several ways.

    The oracle's jobs have the name that the original gives them, which tells a source all the same.

    Args:
        columns: Head of the paper's column -> changes.
        *networks: What the paper calls it, file of the network, and its numbers by column if known,
            from memory unless they say otherwise.
        **more: Further changes, ``__`` in place of dots.
    """
    changes = {key.replace("__", "."): value for key, value in more.items()}
    schedule = "poly10" if changes else "poly10warm"
    rows = []
    for label, file, *numbers in networks:
        values = numbers or [None] * len(columns)
        for (column, way), value in zip(columns.items(), values, strict=True):
            rows.append(
                Row(
                    f"{label}, {column}",
                    DAFORMER,
                    {**network(file), **way, **changes},
                    remembered(value) if isinstance(value, (int, float)) else value,
                    name=f"gta2cs_target-only_{file}_{schedule}" if way is ORACLE else "",
                    cell=(label, column),
                )
            )
    return tuple(rows)


NO_NUMBERS = "Cells without a published number: it is not known here, or has not been compared."
ADAPTED = {"UDA": DACS, "oracle": ORACLE}

# Every network that a table of the paper trains, and two ResNeXts, in the original's order.
ALL_NETWORKS = (
    *("dlv2red_r101v1c", "dlv3p_nodbn_r101v1c", "da_nodbn_r101v1c", "segformer_mitb5"),
    *("isa_nodbn_r101v1c", "dlv2red_r50v1c", "dlv2red_s50", "dlv2red_s101", "dlv2red_s200"),
    *("dlv2red_x50-32", "dlv2red_x101-32", "segformer_mitb4", "segformer_mitb3"),
    *("sfa_dlv3p_nodbn_mitb5-del", "segformer_r101v1c", "daformer_conv1_mitb5"),
    *("daformer_isa_mitb5", "daformer_sepaspp_bottleneck_mitb5", "daformer_aspp_mitb5"),
    *("daformer_sepaspp_mitb5", "upernet_mitb5", "upernet_ch256_mitb5"),
)
STRATEGY_ROWS = (
    ("RCS, T = ∞", UNIFORM, 62.0, 1.5),
    ("RCS", RCS, 64.0, 2.4),
    ("FD, all classes", FD, 58.8, 0.4),
    ("FD of things", FD_THINGS, 61.7, 2.6),
    ("FD of things, RCS", FD_THINGS_RCS, 66.2, 1.0),
    ("FD of things, RCS, α 0.999, cropped", COMPLETE, 67.0, 0.4),
)
TWO_STEPS = {
    "train_cfg.max_iters": 2,
    "train_cfg.val_interval": 2,
    "train_cfg.val_begin": 3,
    "default_hooks.checkpoint.save_last": False,
}


def start(label: str, file: str, changes: Mapping[str, Any]) -> Row:
    """Two steps of a network and a way of training."""
    name = f"gta2cs_target-only_{file}_poly10warm" if changes is ORACLE else ""
    return Row(label, DAFORMER, {**network(file), **changes, **TWO_STEPS}, name=name)


SERVER_NOTE = (
    "The published numbers are those of the benchmark's server on its test images; ours are on the "
    "validation images. tools/test.py writes the predictions to upload."
)
STARTS_NOTE = "Two steps of each, without a validation."

DAFORMER_TABLES = (
    Experiment(
        id=1,
        paper="DAFormer",
        table="Table 1",
        title="GTA → Cityscapes: architectures, each source-only, adapted with DACS, and oracle",
        rows=comparison(
            COLUMNS,
            ("DeepLabV2", "dlv2red_r101v1c", 34.3, 54.2, 72.1),
            ("DANet", "da_nodbn_r101v1c", 30.9, 53.7, 72.6),
            ("ISANet", "isa_nodbn_r101v1c"),
            ("DeepLabV3+", "dlv3p_nodbn_r101v1c", 31.2, 53.7, 75.6),
            ("SegFormer", "segformer_mitb5", 45.6, 58.2, 76.4),
        ),
        notes=(NO_NUMBERS,),
    ),
    Experiment(
        id=2,
        paper="DAFormer",
        table="Table 2",
        title="GTA → Cityscapes: encoders and decoders exchanged",
        rows=comparison(
            ADAPTED,
            ("MiT-B5, DeepLabV3+", "sfa_dlv3p_nodbn_mitb5-del", 56.8, 75.5),
            ("ResNet-101, SegFormer", "segformer_r101v1c", 50.9, 71.3),
        ),
        notes=(NO_NUMBERS,),
    ),
    Experiment(
        id=3,
        paper="DAFormer",
        table="Table 3",
        title="GTA → Cityscapes: encoders of other sizes",
        rows=comparison(
            COLUMNS,
            ("ResNet-50", "dlv2red_r50v1c", 29.3, 52.1, 70.8),
            ("ResNeSt-50", "dlv2red_s50", 27.9, 48.0, 67.7),
            ("ResNeSt-101", "dlv2red_s101", 35.5, 53.5, 72.2),
            ("ResNeSt-200", "dlv2red_s200", 35.9, 56.9, 73.5),
            ("MiT-B3", "segformer_mitb3", 42.2, 50.8, 76.5),
            ("MiT-B4", "segformer_mitb4", 44.7, 57.5, 77.1),
        ),
        seeds=(0,),
        notes=(NO_NUMBERS,),
    ),
    Experiment(
        id=4,
        paper="DAFormer",
        table="Table 4",
        title="GTA → Cityscapes: without the warm-up of the learning rate",
        rows=comparison(
            ADAPTED,
            ("DeepLabV2", "dlv2red_r101v1c", 49.1, 67.4),
            ("SegFormer", "segformer_mitb5", 51.8, 72.9),
            **NO_WARM_UP,
        ),
        seeds=(0,),
        notes=(
            "With the warm-up: experiment 1.",
            "The published runs had a floor of 1e-4 under the learning rate, above the encoder's "
            "6e-5, which therefore rose; here the floor is 0.",
        ),
    ),
    Experiment(
        id=5,
        paper="DAFormer",
        table="Table 5",
        title="GTA → Cityscapes: training strategies on SegFormer",
        rows=(
            *(
                Row(
                    f"SegFormer, {label}",
                    DAFORMER,
                    {**network("segformer_mitb5"), **way},
                    remembered(value, deviation=spread),
                )
                for label, way, value, spread in STRATEGY_ROWS
            ),
            Row(
                "DeepLabV2, FD of things, RCS, α 0.999, cropped",
                DAFORMER,
                DEEPLAB,
                remembered(56.0, deviation=0.5),
            ),
        ),
        notes=(
            NO_NUMBERS,
            "Cropped: no pseudo-labels on the border of rectification and the ego car.",
        ),
    ),
    Experiment(
        id=6,
        paper="DAFormer",
        table="Table 7",
        title="GTA → Cityscapes: decoders on MiT-B5, each with all strategies, and oracle",
        rows=comparison(
            {"UDA": COMPLETE, "oracle": ORACLE},
            ("SegFormer, 256 channels", "daformer_conv1_mitb5", 67.1, 76.5),
            ("UPerNet", "upernet_mitb5", 67.4, 78.0),
            ("UPerNet, 256 channels", "upernet_ch256_mitb5", 66.7, 77.4),
            ("ISA fusion", "daformer_isa_mitb5", 66.3, 76.3),
            ("context at F4 alone", "daformer_sepaspp_bottleneck_mitb5", 67.0, 76.6),
            ("DAFormer without depth-wise separation", "daformer_aspp_mitb5", 67.0, 76.7),
            ("DAFormer", "daformer_sepaspp_mitb5", published.GTA_DAFORMER, 77.6),
        ),
        notes=(NO_NUMBERS,),
    ),
    Experiment(
        id=7,
        paper="DAFormer",
        table="Table 6",
        title="SYNTHIA → Cityscapes: DAFormer",
        rows=(Row("DAFormer", "daformer/syn2cs_daformer", reported=published.SYNTHIA_DAFORMER),),
        metrics=("mIoU", "mIoU_16", "mIoU_13"),
    ),
    Experiment(
        id=8,
        paper="DAFormer",
        table="extension",
        title="Cityscapes → ACDC and Dark Zurich: DAFormer",
        rows=(
            Row("ACDC", "daformer/cs2acdc_daformer", reported=published.on_the_server(55.4)),
            Row("Dark Zurich", "daformer/cs2dzur_daformer", reported=published.on_the_server(53.8)),
        ),
        metrics=("mIoU", published.TEST),
        notes=(
            SERVER_NOTE,
            "Neither has a border or an ego car; the published runs cut the rows all the same.",
        ),
    ),
    Experiment(
        id=100,
        paper="DAFormer",
        table="start-up",
        title="Two steps of every network, on labelled target images",
        rows=tuple(start(file, file, ORACLE) for file in ALL_NETWORKS),
        seeds=(0,),
        notes=(STARTS_NOTE,),
    ),
    Experiment(
        id=101,
        paper="DAFormer",
        table="start-up",
        title="Two steps of every way of training",
        rows=tuple(
            start(label, "segformer_mitb5", way)
            for label, way in (
                ("source-only", SOURCE_ONLY),
                ("target-only", ORACLE),
                ("DACS", DACS),
                *((label, way) for label, way, _, _ in STRATEGY_ROWS),
            )
        ),
        seeds=(0,),
        notes=(STARTS_NOTE,),
    ),
)
