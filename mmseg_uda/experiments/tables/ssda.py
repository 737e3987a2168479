"""SSDA's tables: dynamic subdomains.

IEEE TMM 2024; doi 10.1109/TMM.2024.3355629.
"""

from __future__ import annotations

from typing import Any

from mmseg_uda.experiments.grid import Experiment, Reported, Row

# On HRDA's experiment 41, last row, as the one released config of SSDA has it: offsets of the
# detail crop on 8 pixels, evaluation of whole images.
SSDA = "ssda/gtaHR2csHR_ssda_hrda_dlv2"
RELEASED = "ssda/gtaHR2csHR_ssda_released_hrda_dlv2"


def row(label: str, **options: Any) -> Row:
    """The method with other options; ``__`` stands in place of dots."""
    changes = {f"uda.subdomains.{key.replace('__', '.')}": v for key, v in options.items()}
    return Row(label, SSDA, changes)


SSDA_TABLES = (
    Experiment(
        id=411,
        paper="SSDA",
        table="README",
        title="GTA → Cityscapes: HRDA (DeepLabV2) without SSDA, as released, the method, and parts",
        rows=(
            Row("HRDA (DeepLabV2)", SSDA, {"uda.subdomains": None}),
            Row(
                "SSDA, as released",
                RELEASED,
                reported=Reported({"mIoU": 64.4}, "its README: one checkpoint, seed 1"),
            ),
            Row("SSDA", SSDA),
            row("SSDA, seeds only", crf_loss_weight=0),
            row("SSDA, CRF only", seed_loss_weight=0, branch_seed_loss=False),
            row("SSDA, quota off", quota="constant"),
        ),
        notes=(
            "64.4 is the only published number that belongs to SSDA's code, in which uncertainty "
            "and CRF have no effect; nothing says that they were active in the published "
            "checkpoint. HRDA's paper has 63.0 for the first row (three seeds).",
            "The accuracy of the method (row SSDA) is unverified upstream.",
            "Quota off: every class has the same share of seeds, the mean of the balanced quotas.",
        ),
    ),
    Experiment(
        id=412,
        paper="SSDA",
        table="options (ours)",
        title="GTA → Cityscapes: SSDA's options one by one",
        rows=tuple(
            row(f"SSDA, {label} {value}", **{key: value})
            for label, key, values in (
                ("β", "beta", (0.05, 0.2)),
                ("λ2", "crf_loss_weight", (0.01, 1.0)),
                ("τ", "target_weight", (0.1, 1.0)),
                ("σ_rgb", "crf__sigma_rgb", (0.005, 0.02)),
                ("R", "crf__radius", (2,)),
                ("uncertainty", "uncertainty__source", ("none",)),
            )
            for value in values
        )
        + (
            row(
                "SSDA, uncertainty mc_dropout",
                uncertainty__source="mc_dropout",
                uncertainty__dropout=0.1,
            ),
        ),
        notes=(
            "The values of experiment 411 are β 0.1, λ2 0.1 (0: its row without CRF), τ 0.01, "
            "σ_rgb 0.1, R 5 and the three scales of HRDA. Nothing of this was published.",
        ),
    ),
)
