"""Domain generalization with foundation models: Rein, SoMA and LoRA under Mask2Former.

Wei et al., CVPR 2024, arXiv 2312.04265 (Rein); Yun et al., CVPR 2025, arXiv 2412.04077 (SoMA).
Reported numbers are those of the READMEs.
"""

from __future__ import annotations

from typing import Any

from mmseg_uda.experiments.grid import Base, Experiment, Reported, Row
from mmseg_uda.experiments.tables.vfm import row

SOMA = "vfm/gta2cbm_soma_dinov2-l"
REIN = "vfm/gta2cbm_rein_dinov2-l"
CITY = "vfm/cs2bm_soma_dinov2-l"
CITY_ACDC = "vfm/cs2acdc_soma_dinov2-l-1024"
TWO = "vfm/gtasyn2cbm_soma_dinov2-l"

DATA = "train_dataloader.dataset.source"
SCHEDULE = "param_scheduler"
PLAIN = {
    "model.backbone.adapter": None,
    SCHEDULE: Base("recipes/adapters", "poly09"),
    "uda": Base("recipes/default", "supervised"),
}
FROZEN = {
    **PLAIN,
    "model.backbone.trainable": "none",
    "optim_wrapper": Base("recipes/adapters", "adamw_m2f"),
}
FULL = {
    **PLAIN,
    "model.backbone.trainable": "all",
    "optim_wrapper": Base("recipes/adapters", "adamw_full"),
}
LORA = {"model.backbone.adapter": {"type": "lora"}}
ORACLE = {DATA: Base("domains/multiscale", "multiscale_cityscapes")}

SOMA_README = "README of SoMA, the best checkpoint on these targets"
REIN_README = "README of Rein, targets at 1024x512"
COMMON = (
    "The resolution of the targets is a part of these numbers: 2048x1024 in SoMA, 1024x512 in Rein "
    "(BDD100K 1280x720 in both). Mapillary is scored at its own size, not at half of it.",
    "Released checkpoints of SoMA were chosen on the targets; here it is the last one.",
    "Source-only: frozen encoder, and whole encoder at 0.01 of the rate. Numbers that are not "
    "published in a README are not known here (–).",
)
ONE_GPU = "The labelled batch of 4 fits one GPU; hours are not published."


def smaller(arch: str, width: int) -> dict[str, Any]:
    """Changes that put an encoder of 12 blocks in place of DINOv2-L."""
    return {
        "model.backbone.arch": arch,
        "model.backbone.out_indices": (2, 5, 8, 11),
        "model.backbone.init_cfg.checkpoint": f"{arch}.lvd142m",
        "model.decode_head.in_channels": [width] * 4,
    }


def beside(config: str, label: str = "") -> tuple[Row, Row]:
    """The source-only rows of a config."""
    return (
        row(f"{label}source-only, frozen encoder", config, "frozen", FROZEN),
        row(f"{label}source-only, whole encoder", config, "full", FULL),
    )


def oracle(config: str) -> Row:
    """SoMA's training on Cityscapes, which is target-only for that column."""
    name = f"{config.rpartition('/')[2]}_oracle"
    label, columns = "target-only (SoMA on Cityscapes)", ("cityscapes/mIoU",)
    return Row(label, config, ORACLE, name=name, metrics=columns)


def on_city(value: float, **more: float) -> Reported:
    """Numbers of Rein's README, Cityscapes first."""
    return Reported({"cityscapes/mIoU": value, **more}, REIN_README)


VFM_GENERALIZATION_TABLES = (
    Experiment(
        id=710,
        paper="SoMA",
        table="GTA → C, B, M",
        title="GTA → Cityscapes, BDD100K, Mapillary (unseen): Mask2Former on DINOv2-L, adapters",
        rows=(
            *beside(SOMA),
            row("LoRA", SOMA, "lora", LORA),
            row("SoMA", SOMA, reported=Reported({"mIoU": 68.27}, SOMA_README)),
            row("Rein", REIN, reported=on_city(66.7, **{"bdd100k/mIoU": 60.0})),
            row(
                "Rein, B",
                REIN,
                "b",
                smaller("vit_base_patch14_dinov2", 768),
                reported=on_city(64.3),
            ),
            row(
                "Rein, S",
                REIN,
                "s",
                smaller("vit_small_patch14_dinov2", 384),
                reported=on_city(55.3),
            ),
            oracle(SOMA),
        ),
        metrics=("mIoU", "cityscapes/mIoU", "bdd100k/mIoU", "mapillary/mIoU"),
        notes=(
            ONE_GPU,
            *COMMON,
            "RecycleLoRA, whose code is not public: 68.95 on average (second hand).",
        ),
    ),
    Experiment(
        id=711,
        paper="SoMA",
        table="Cityscapes → B, M; → ACDC",
        title="Cityscapes → BDD100K, Mapillary and → ACDC (unseen): Mask2Former on DINOv2-L, SoMA",
        rows=(
            *beside(CITY),
            row("SoMA", CITY, reported=Reported({"mIoU": 71.74}, SOMA_README)),
            *beside(CITY_ACDC, "ACDC: "),
            row(
                "ACDC: SoMA",
                CITY_ACDC,
                reported=Reported({"mIoU_test": 78.75}, "README of SoMA"),
                note="On the validation images; published on the test server (Rein: 77.6).",
            ),
            row(
                "ACDC: target-only (SoMA on ACDC)",
                CITY_ACDC,
                "oracle",
                {DATA: Base("domains/multiscale", "multiscale_acdc1024")},
            ),
        ),
        metrics=("mIoU", "bdd100k/mIoU", "mapillary/mIoU", "mIoU_test"),
        notes=("Batch of 8; on ACDC 2 images on each of 4 GPUs, crops of 1024².", *COMMON),
    ),
    Experiment(
        id=712,
        paper="SoMA",
        table="GTA + SYNTHIA → C, B, M",
        title="GTA + SYNTHIA → Cityscapes, BDD100K, Mapillary (unseen): Mask2Former on DINOv2-L",
        rows=(
            *beside(TWO),
            row("SoMA", TWO, reported=Reported({"mIoU": 69.26}, SOMA_README)),
            row(
                "Rein",
                REIN,
                "gtasyn",
                {DATA: Base("domains/multiscale", "multiscale_gta_synthia")},
                reported=on_city(68.1),
            ),
        ),
        metrics=("mIoU", "cityscapes/mIoU", "bdd100k/mIoU", "mapillary/mIoU"),
        notes=(
            ONE_GPU,
            *COMMON,
            "With UrbanSyn as a third source, which is no data set here: SoMA 71.68 (512²), "
            "73.12 (1024²) on average; Rein 78.4 on Cityscapes.",
        ),
    ),
)
