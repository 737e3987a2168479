"""MIC's tables: masked image consistency on its hosts.

Hoyer et al., CVPR 2023; arXiv 2212.01322.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmseg_uda.experiments.grid import Base, Experiment, Row, host_alone
from mmseg_uda.experiments.tables import published
from mmseg_uda.experiments.tables.daformer import (
    DACS,
    DAFORMER,
    DATA,
    DEEPLAB,
    SERVER_NOTE,
    network,
)
from mmseg_uda.experiments.tables.published import on_the_server, remembered

GTA, ACDC = "mic/gtaHR2csHR_mic_hrda", "mic/csHR2acdcHR_mic_hrda"
MASKING = "uda.masking"
MASKED = {MASKING: Base("methods/mic", "mic"), f"{MASKING}.block_size": 32}  # at half resolution


def masked(label: str, **options: Any) -> Row:
    """MIC on DAFormer with other options."""
    changes = {**MASKED, **{f"{MASKING}.{key}": value for key, value in options.items()}}
    return Row(label, DAFORMER, changes)


def mode(label: str, config: str, name: str) -> Row:
    """MIC on HRDA that masks other images."""
    return Row(label, config, {f"{MASKING}.mode": name})


def without(row: Row) -> Row:
    """The host alone."""
    line, _ = row.cell or (row.label, "")
    kept = {key: value for key, value in row.changes.items() if not key.startswith(MASKING)}
    return replace(
        row,
        label=host_alone(line),
        changes={**kept, MASKING: None},
        reported=None,
        counts=False,
        cell=row.cell and (line, "without MIC"),
    )


SUPERVISED = {
    "uda": Base("recipes/default", "source_only"),
    f"{DATA}.source": Base("domains/cityscapes", "source_cityscapes"),
    f"{DATA}.target": Base("domains/cityscapes", "source_cityscapes"),
    f"{DATA}.rare_class_sampling": None,
}
BLOCKS, RATIOS = (16, 32, 64, 128), (0.3, 0.5, 0.7, 0.9)
RECOMMENDED = "The complete method on DAFormer: experiment 81, last row."

HOSTS = tuple(
    Row(f"{host} + MIC", config, changes, reported, cell=(host, "with MIC"))
    for host, config, changes, reported in (
        ("AdvSeg", "advseg/gta2cs_advseg_dlv2", MASKED, None),
        ("MinEnt", "minent/gta2cs_minent_dlv2", MASKED, None),
        ("DACS", DAFORMER, {**DEEPLAB, **DACS, **MASKED}, None),
        ("DAFormer, DeepLabV2", DAFORMER, {**DEEPLAB, **MASKED}, None),
        ("HRDA, DeepLabV2", GTA, network("hrda1_dlv2red_r101v1c"), None),
        ("DAFormer", DAFORMER, MASKED, remembered(70.6)),
    )
)
BENCHMARKS = (
    Row("GTA → Cityscapes", GTA, reported=published.GTA_MIC),
    Row("SYNTHIA → Cityscapes", "mic/synHR2csHR_mic_hrda", reported=published.SYNTHIA_MIC),
    Row("Cityscapes → ACDC", ACDC, reported=on_the_server(70.4, published.CHECKED)),
    Row(
        "Cityscapes → Dark Zurich",
        "mic/csHR2dzurHR_mic_hrda",
        reported=on_the_server(60.2, published.CHECKED),
    ),
)
SUPERVISED_ROW = Row(
    "Cityscapes, supervised", DAFORMER, {**SUPERVISED, **MASKED, f"{MASKING}.mode": "separatesrc"}
)

MIC_TABLES = (
    Experiment(
        id=80,
        paper="MIC",
        table="Table 2",
        title="Four benchmarks: MIC on HRDA",
        rows=BENCHMARKS,
        metrics=("mIoU", "mIoU_16", "mIoU_13", published.TEST),
        notes=(SERVER_NOTE,),
        references=tuple(map(without, BENCHMARKS)),
    ),
    Experiment(
        id=81,
        paper="MIC",
        table="Table 1",
        title="GTA → Cityscapes: MIC on six hosts",
        rows=HOSTS,
        notes=(
            "HRDA on DeepLabV2: offsets of the detail crop are multiples of 16 pixels; the "
            "published runs had 8.",
        ),
        references=tuple(map(without, HOSTS)),
    ),
    Experiment(
        id=82,
        paper="MIC",
        table="Table 6",
        title="Which images are masked: MIC on HRDA",
        rows=(
            mode("GTA → Cityscapes, source", GTA, "separatesrcaug"),
            mode("GTA → Cityscapes, both", GTA, "separateaug"),
            mode("Cityscapes → ACDC, source", ACDC, "separatesrc"),
            mode("Cityscapes → ACDC, target", ACDC, "separatetrg"),
        ),
        notes=("The chosen domains: experiment 80, rows 1 (target) and 3 (both).",),
    ),
    Experiment(
        id=83,
        paper="MIC",
        table="Table 7",
        title="GTA → Cityscapes: MIC's parts on DAFormer",
        rows=(
            masked("no colour augmentation", mode="separatetrg"),
            masked("no masking", mask_ratio=0),
            masked("student in place of the teacher", alpha=0),
            masked("no confidence weight", pseudo_threshold=None),
        ),
        notes=(RECOMMENDED,),
    ),
    Experiment(
        id=84,
        paper="MIC",
        table="Table 8",
        title="GTA → Cityscapes: patch sizes and mask ratios on DAFormer",
        rows=tuple(
            replace(
                masked(f"b {block}, r {ratio}", block_size=block, mask_ratio=ratio),
                cell=(f"b {block}", f"r {ratio}"),
            )
            for block in BLOCKS
            for ratio in RATIOS
            if (block, ratio) != (32, 0.7)
        ),
        notes=(RECOMMENDED,),
    ),
    Experiment(
        id=85,
        paper="MIC",
        table="Table 9",
        title="Cityscapes alone: MIC in supervised training of DAFormer's network",
        rows=(SUPERVISED_ROW,),
        references=(without(SUPERVISED_ROW),),
    ),
)
