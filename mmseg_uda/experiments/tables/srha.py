"""SRHA's tables: domain generalization, evaluated on several unseen targets at once.

Jiao et al., Neural Networks 2025; arXiv 2404.13701. Rows are the files of ``configs/srha``.
"""

from __future__ import annotations

from typing import Any

from mmseg_uda.experiments.grid import Experiment, Reported, Row

R50 = "srha_r50-os16_b8-60k_gta2cbm"
GTA_METRICS = ("mIoU", "cityscapes/mIoU", "bdd100k/mIoU", "mapillary/mIoU")
CITY_METRICS = ("mIoU", "bdd100k/mIoU", "synthia/mIoU", "gta/mIoU")

UNKNOWN = (
    "The article's tables could not be obtained; 43.67 is second hand, from a summary of the "
    "preprint, and the network it belongs to is that of the released script."
)
PROTOCOL = (
    "Whole images, one scale. Mapillary: centre square of 1536 pixels, padding unlabelled; the "
    "literature's padding is scored as road (legacy=True of CenterCropPad)."
)
SELECTION = "Which checkpoint the article reports is unknown; here it is the last one."


def row(
    label: str,
    stem: str,
    reported: Reported | None = None,
    note: str = "",
    tag: str = "",
    **changes: Any,
) -> Row:
    """A row that trains ``configs/srha/<stem>.py``.

    Args:
        label: What the table calls it.
        stem: Name of the file.
        reported: Published numbers.
        note: What the reader should know.
        tag: What tells a changed file's jobs apart in their names.
        **changes: Options with ``__`` in place of dots.
    """
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    name = f"{stem}_{tag}" if tag else stem
    return Row(label, f"srha/{stem}", dotted, reported, note, name=name)


def ablation(label: str, tag: str, **changes: Any) -> Row:
    """A row that changes the ResNet-50 training on GTA."""
    return row(f"SRHA, {label}", R50, tag=tag, **changes)


COMPLETE = row("SRHA, complete", R50)

SRHA_TABLES = (
    Experiment(
        id=500,
        paper="SRHA",
        table="GTA → C, B, M",
        title="GTA → Cityscapes, BDD100K, Mapillary (unseen): each network without and with SRHA",
        rows=(
            row("DeepLabV3+ ResNet-50", "dgbase_r50-os16_b16-40k_gta2cbm"),
            row("DeepLabV3+ ResNet-50 + SRHA", R50),
            row("DeepLabV3+ ResNet-101 + SRHA", "srha_r101-os16_b9-60k_gta2cbm"),
            row("DeepLabV3+ ShuffleNetV2", "dgbase_shufflenetv2_b16-40k_gta2cbm"),
            row("DeepLabV3+ ShuffleNetV2 + SRHA", "srha_shufflenetv2_b8-60k_gta2cbm"),
            row("DeepLabV3+ MobileNetV2", "dgbase_mobilenetv2_b16-40k_gta2cbm"),
            row("DeepLabV3+ MobileNetV2 + SRHA", "srha_mobilenetv2_b8-60k_gta2cbm"),
            row("Mask2Former ResNet-50 + SRHA", "srha_r50-m2f_b8-120k_gta2cbm-adamw"),
            row(
                "Mask2Former ResNet-50 + SRHA, SGD",
                "srha_r50-m2f_b8-120k_gta2cbm-sgd",
                note="The released script's optimizer, literally; it hardly trains Mask2Former.",
            ),
        ),
        metrics=GTA_METRICS,
        notes=(
            UNKNOWN,
            PROTOCOL,
            SELECTION,
            "Baselines are RobustNet's: 40 000 steps of 16 images, the whole network trained. Its "
            "ResNet-101 has another stem and output stride and is no baseline of row 3.",
        ),
    ),
    Experiment(
        id=501,
        paper="SRHA",
        table="Cityscapes → B, S, G",
        title="Cityscapes → BDD100K, SYNTHIA, GTA (unseen): ResNet-50 without and with SRHA",
        rows=(
            row("DeepLabV3+ ResNet-50", "dgbase_r50-os16_b8-40k_city2bsg"),
            row(
                "DeepLabV3+ ResNet-50 + SRHA",
                "srha_r50-os16_b8-120k_city2bsg",
                Reported({"mIoU": 43.67}, "summary of arXiv 2404.13701, second hand"),
            ),
        ),
        metrics=CITY_METRICS,
        notes=(UNKNOWN, SELECTION),
    ),
    Experiment(
        id=502,
        paper="SRHA",
        table="ablation: parts",
        title="GTA → C, B, M: SRHA (ResNet-50) without each of its parts",
        rows=(
            COMPLETE,
            ablation("no rearrangement", "nosrm", uda__rearrangement=False),
            ablation("no standardisation", "nostd", model__backbone__standardize=False),
            ablation("no global alignment", "noga", uda__alignment_levels=("regional", "local")),
            ablation("no regional alignment", "nora", uda__alignment_levels=("global", "local")),
            ablation("no local alignment", "nola", uda__alignment_levels=("global", "regional")),
            ablation("no alignment", "nohac", uda__alignment_levels=()),
            ablation("no consistency", "nopc", uda__consistency_weight=0.0),
        ),
        metrics=GTA_METRICS,
        notes=("Published numbers of the ablations could not be obtained.",),
    ),
    Experiment(
        id=503,
        paper="SRHA",
        table="ablation: concentration",
        title="GTA → C, B, M: SRHA (ResNet-50) with other mixtures of styles",
        rows=(
            row("SRHA, concentration 0.0156 (2⁻⁶)", R50),
            *(
                ablation(
                    f"concentration {name}",
                    f"c{value:g}".replace(".", ""),
                    uda__concentration=value,
                )
                for name, value in (("2⁻⁴", 0.0625), ("2⁻²", 0.25), ("1", 1.0), ("4", 4.0))
            ),
        ),
        metrics=GTA_METRICS,
        notes=("Published numbers of the ablations could not be obtained.",),
    ),
    Experiment(
        id=504,
        paper="SRHA",
        table="ablation: options",
        title="GTA → C, B, M: SRHA (ResNet-50) with other teachers, weights and regions",
        rows=(
            COMPLETE,
            ablation("teacher of its own style draw", "tindep", uda__teacher_inputs="independent"),
            ablation("teacher of originals only", "torig", uda__teacher_inputs="original"),
            ablation("teacher with running statistics", "trun", uda__teacher_bn="running"),
            ablation("equal layer weights", "lweq", uda__alignment_weights=(0.7, 0.7, 0.7, 0.7)),
            ablation("unlabelled pixels in no region", "noign", uda__ignore_as_region=False),
            ablation("stem trained", "stem", model__backbone__frozen_stages=()),
        ),
        metrics=GTA_METRICS,
        notes=(
            "The equal layer weights have the published sum, 2.8.",
            "Published numbers of the ablations could not be obtained.",
        ),
    ),
)
