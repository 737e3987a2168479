"""Foundation-model backbones: VFM-UDA's tables, and other methods on DINOv2.

Englert et al., CVPR Workshops 2024; arXiv 2406.09896. VFM-UDA++: arXiv 2503.10685. Reported numbers
are those of the READMEs.
"""

from __future__ import annotations

from typing import Any

from mmseg_uda.experiments.grid import Base, Experiment, Reported, Row

GTA = "vfm/gta2cs_vfmuda_dinov2-l"
SYNTHIA = "vfm/syn2cs_vfmuda_dinov2-l"
DARK_ZURICH = "vfm/cs2dzur_vfmuda_dinov2-l"
ACDC = "vfm/cs2acdc_vfmuda_dinov2-l"

DATA = "train_dataloader.dataset"
BASE = {"model": Base("networks/light_dinov2_vitb14", "model")}
# The labelled domain alone. Its weight decay, batch and curve are the adaptation's.
ALONE = {"uda": Base("methods/vfm_uda", "vfm_supervised"), f"{DATA}.target": None}
SLOW_ENCODER = {"optim_wrapper.paramwise_cfg.layer_decay.multiplier": 0.01}
ORACLE = {**ALONE, f"{DATA}.source": Base("domains/vfm", "scaled_cityscapes")}
ORACLE_ACDC = {**ALONE, f"{DATA}.source": Base("domains/vfm", "scaled_acdc")}

RETRAINED = "README of the released code, re-trained, one checkpoint"
COST = (
    "Published cost of VFM-UDA on DINOv2-L: about 20 hours on four A100. Confident pixels and "
    "pasted classes are counted per process, so one process with 8 images is another training than "
    "four with 2."
)
UNKNOWN = "Numbers that are not published in a README are not known here (–)."


def row(
    label: str,
    config: str,
    tag: str = "",
    *changes: dict[str, Any],
    reported: Reported | None = None,
    note: str = "",
) -> Row:
    """A row of VFM-UDA's configs; later changes win.

    Args:
        label: What the table calls it.
        config: The final config.
        tag: What tells its jobs from those of the config itself, in their names.
        *changes: What it changes.
        reported: Published numbers.
        note: What the reader should know.
    """
    merged = {key: value for change in changes for key, value in change.items()}
    stem = config.rpartition("/")[2]
    name = f"{stem}_{tag}" if tag else stem
    return Row(label, config, merged, reported, note, name=name)


def network(arch: str, width: int, tag: str, **more: Any) -> dict[str, Any]:
    """Changes that put another encoder under the light decoder."""
    changes = {
        "model.backbone.arch": arch,
        "model.backbone.init_cfg.checkpoint": f"{arch}.{tag}",
        "model.decode_head.in_channels": width,
    }
    return changes | {f"model.{key.replace('__', '.')}": value for key, value in more.items()}


CLIP_COLOURS = {
    "data_preprocessor__mean": [122.7709383, 116.7460125, 104.09373615],
    "data_preprocessor__std": [68.5005327, 66.6321579, 70.32316305],
}
NETWORKS = {
    "DINOv2-S": network("vit_small_patch14_dinov2", 384, "lvd142m"),
    "DINOv2-B": network("vit_base_patch14_dinov2", 768, "lvd142m"),
    "DINOv3-S": network("vit_small_patch16_dinov3", 384, "lvd1689m"),
    "DINOv3-B": network("vit_base_patch16_dinov3", 768, "lvd1689m"),
    "DINOv3-L": network("vit_large_patch16_dinov3", 1024, "lvd1689m"),
    "EVA-02-B": network("eva02_base_patch14_224", 768, "mim_in22k", **CLIP_COLOURS),
    "DeiT-III-B": network("deit3_base_patch16_224", 768, "fb_in22k_ft_in1k"),
}


def alone(config: str, oracle: dict[str, Any], large: bool = True) -> tuple[Row, ...]:
    """Source-only and target-only rows beside an adaptation's, at both published rates."""
    size, tag, change = ("L", "", {}) if large else ("B", "b-", BASE)
    rows = []
    for label, kind, what in (("source-only", "srconly", ALONE), ("target-only", "oracle", oracle)):
        for rate, slow in ((0.1, {}), (0.01, SLOW_ENCODER)):
            name = f"{tag}{kind}-{rate:g}".replace(".", "")
            title = f"{label}, {size}, encoder × {rate:g}"
            rows.append(row(title, config, name, change, what, slow))
    return tuple(rows)


def half(label: str, config: str, changes: dict[str, Any] | None = None, tag: str = "") -> Row:
    """A row that puts DINOv2-B under the method of a config at half resolution."""
    stem = config.rpartition("/")[2]
    name = f"{stem}_{tag}_dinov2-b" if tag else f"{stem}_dinov2-b"
    whole = {
        **BASE,
        "model.data_preprocessor.size": (512, 512),
        "model.test_cfg": {"_delete_": True, "mode": "whole"},
        "optim_wrapper": Base("recipes/vfm", "adamw_vfm"),
    }
    return Row(label, config, {**whole, **(changes or {})}, name=name)


def adapter(kind: str) -> dict[str, Any]:
    """Changes that train an adapter of the encoder instead of the encoder."""
    return {
        "model.backbone.trainable": "adapters",
        "model.backbone.adapter": {"type": kind},
        "optim_wrapper.paramwise_cfg.layer_decay.multiplier": 1.0,
    }


PYRAMID = {
    "model.neck": {"type": "SimplePyramid", "in_channels": 768},
    "model.decode_head": {
        "_delete_": True,
        "type": "PyramidHead",
        "in_channels": [768, 768, 768, 768],
        "norm": "LN",
        "num_classes": 19,
        "align_corners": False,
        "loss_decode": {"type": "PixelCrossEntropy", "avg_non_ignore": False, "loss_weight": 1.0},
    },
}

DISTILLATION = {"uda.distillation": {"type": "FeatureDistillation"}}

VFM_TABLES = (
    Experiment(
        id=700,
        paper="VFM-UDA",
        table="GTA → Cityscapes",
        title="GTA → Cityscapes: DINOv2 with VFM-UDA, beside source-only and target-only",
        rows=(
            row("VFM-UDA, B", GTA, "b", BASE, reported=Reported({"mIoU": 77.1}, RETRAINED)),
            row("VFM-UDA, L", GTA, reported=Reported({"mIoU": 78.4}, RETRAINED)),
            *alone(GTA, ORACLE, large=False),
            *alone(GTA, ORACLE),
        ),
        notes=(
            COST,
            UNKNOWN,
            "The released code trains source-only and target-only rows with the encoder at 0.01 of "
            "the decoder's rate, its adaptation with 0.1; both are here.",
        ),
    ),
    Experiment(
        id=701,
        paper="VFM-UDA",
        table="SYNTHIA → Cityscapes",
        title="SYNTHIA → Cityscapes: DINOv2 with VFM-UDA",
        rows=(
            row("VFM-UDA, B", SYNTHIA, "b", BASE),
            row("VFM-UDA, L", SYNTHIA),
            *alone(SYNTHIA, ORACLE),
        ),
        metrics=("mIoU", "mIoU_16", "mIoU_13"),
        notes=(
            COST,
            UNKNOWN,
            "VFM-UDA++ states 69.7 for B, and not over which classes.",
        ),
    ),
    Experiment(
        id=702,
        paper="VFM-UDA",
        table="Cityscapes → ACDC, Dark Zurich",
        title="Cityscapes → ACDC and → Dark Zurich: DINOv2 with VFM-UDA",
        rows=(
            row("ACDC: VFM-UDA, B", ACDC, "b", BASE),
            row("ACDC: VFM-UDA, L", ACDC),
            row("ACDC: source-only, L", ACDC, "srconly", ALONE),
            row("ACDC: target-only, L", ACDC, "oracle", ORACLE_ACDC),
            row("Dark Zurich: VFM-UDA, B", DARK_ZURICH, "b", BASE),
            row(
                "Dark Zurich: VFM-UDA, L",
                DARK_ZURICH,
                note="VFM-UDA++ with a deformable adapter: 68.7, on the test server.",
            ),
            row("Dark Zurich: source-only, L", DARK_ZURICH, "srconly", ALONE),
        ),
        notes=(
            COST,
            UNKNOWN,
            "Numbers are on validation splits. Dark Zurich has no labelled training images, hence "
            "no target-only row.",
        ),
    ),
    Experiment(
        id=703,
        paper="VFM-UDA",
        table="ablation",
        title="GTA → Cityscapes: VFM-UDA (DINOv2-B) with other parts",
        rows=(
            row("masked tokens (complete)", GTA, "b", BASE),
            row("masked pixels", GTA, "b-pixels", BASE, {"uda.masking.unit": "pixels"}),
            row("no masking", GTA, "b-nomask", BASE, {"uda.masking": None}),
            row("one teacher pass", GTA, "b-noflip", BASE, {"uda.teacher_flip": False}),
            row(
                "positions as timm",
                GTA,
                "b-timmpos",
                BASE,
                {"model.backbone.pos_embed_mode": "timm"},
            ),
            row("kornia's jitter", GTA, "b-kornia", BASE, {"uda.augmentation.style": "kornia"}),
            row(
                "feature distance",
                GTA,
                "b-fd",
                BASE,
                {"uda.feature_distance": {"type": "FeatureDistance"}},
            ),
        ),
        notes=(COST, UNKNOWN),
    ),
    Experiment(
        id=704,
        paper="VFM-UDA",
        table="backbones",
        title="GTA → Cityscapes: VFM-UDA on other foundation models",
        rows=(
            row("DINOv2-L", GTA, reported=Reported({"mIoU": 78.4}, RETRAINED)),
            *(row(label, GTA, label.lower(), change) for label, change in NETWORKS.items()),
        ),
        notes=(
            COST,
            UNKNOWN,
            "The crop is resized to as many whole patches as fit into 1.1 times its side: 80 of 14 "
            "pixels, 70 of 16. The DINOv3 licence has terms of its own. In the mini profile every "
            "row has the miniature network.",
        ),
    ),
    Experiment(
        id=705,
        paper="VFM-UDA++",
        table="towards ++",
        title="GTA → Cityscapes: VFM-UDA (DINOv2-B) with parts of VFM-UDA++",
        rows=(
            row("VFM-UDA, B", GTA, "b", BASE, reported=Reported({"mIoU": 77.1}, RETRAINED)),
            row("pyramid decoder", GTA, "b-pyramid", BASE, PYRAMID),
            row("feature distillation", GTA, "b-distill", BASE, DISTILLATION),
            row(
                "pyramid decoder, feature distillation",
                GTA,
                "b-pyramid-distill",
                BASE,
                PYRAMID,
                DISTILLATION,
                {"uda.distillation.in_channels": 768},
            ),
            row(
                "layer decay 0.9",
                GTA,
                "b-decay09",
                BASE,
                {"optim_wrapper.paramwise_cfg.layer_decay.decay": 0.9},
            ),
        ),
        notes=(
            COST,
            "VFM-UDA++ L, whose encoder has a deformable adapter (compiled operators) that is not "
            "here: 79.8, 69.0 on WildDash 2.",
        ),
    ),
    Experiment(
        id=706,
        paper="ours",
        table="other methods",
        title="DAFormer, MIC, CSI, CDDA and SSDA at half resolution on DINOv2-B",
        rows=(
            half("DAFormer", "daformer/gta2cs_daformer"),
            half(
                "MIC",
                "daformer/gta2cs_daformer",
                {"uda.masking": Base("methods/mic", "mic"), "uda.masking.block_size": 32},
                "mic",
            ),
            half(
                "CSI",
                "csi/syn2cs_csi_daformer",
                {"model.decode_head.loss_decode.avg_non_ignore": True},  # as its code averages
            ),
            half("CDDA", "cdda/gta2cs_cdda_daformer"),
            half(
                "SSDA",
                "ssda/gta2cs_ssda_daformer",
                {"uda.subdomains.uncertainty.dropout": 0.1},  # the light decoder has none
            ),
        ),
        notes=("No paper combines them; the rates are VFM-UDA's.",),
    ),
    Experiment(
        id=713,
        paper="ours",
        table="adapters",
        title="GTA → Cityscapes: VFM-UDA (DINOv2-L) with adapters of a frozen encoder",
        rows=(
            row("whole encoder", GTA, reported=Reported({"mIoU": 78.4}, RETRAINED)),
            row("frozen encoder", GTA, "frozen", {"model.backbone.trainable": "none"}),
            *(
                row(label, GTA, label.lower(), adapter(label.lower()))
                for label in ("LoRA", "SoMA", "Rein")
            ),
        ),
        notes=(
            "No paper combines them. Adapters are trained at the decoder's rate. A teacher has "
            "adapters, decoder and mask token of its own.",
        ),
    ),
)
