"""Real images: rendered streets to CamVid, with encoders small enough for a CPU.

No paper has these numbers. docs/real_images.md says what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg_uda.experiments.grid import Experiment, Row

CONFIGS = {
    "source-only + colour distortion": "streets2camvid_source-only",
    "DACS": "streets2camvid_dacs",
    "DAFormer's strategies": "streets2camvid_daformer",
    "MIC": "streets2camvid_mic",
    "HRDA": "streets2camvidHR_hrda",
    "MIC on HRDA": "streets2camvidHR_mic_hrda",
    "target-only": "camvid_target-only",
}
R50 = {
    "model.backbone.arch": "resnet50",
    "model.backbone.init_cfg.checkpoint": "resnet50_imagenet1k_v1",
    "model.decode_head.in_channels": [256, 2048],
}


def rows(changes: Mapping[str, Any], tag: str = "") -> tuple[Row, ...]:
    """One row per config.

    Args:
        changes: What every row changes.
        tag: What tells its jobs from those of the configs themselves, in their names.
    """
    found = []
    for label, stem in CONFIGS.items():
        own = dict(changes)
        if own and "hrda" in stem:
            own["model.decode_head.output_stride"] = 4
        found.append(Row(label, f"camvid/{stem}", own, name=f"{stem}{tag}"))
    return tuple(found)


NOTES = (
    "Every row sees the source with distorted colours, so that the difference to row 1 is what "
    "adaptation brings.",
    "Nothing was tuned on CamVid; docs/real_images.md has what was measured of experiment 800.",
)

CAMVID_TABLES = (
    Experiment(
        id=800,
        paper="Real images",
        table="streets → CamVid",
        title="Rendered streets → CamVid: DeepLabV3+ on MobileNetV2, for a CPU",
        rows=rows({}),
        notes=NOTES,
    ),
    Experiment(
        id=801,
        paper="Real images",
        table="streets → CamVid, ResNet-50",
        title="Rendered streets → CamVid: DeepLabV3+ on ResNet-50",
        rows=rows(R50, "_r50"),
        notes=NOTES,
    ),
)
