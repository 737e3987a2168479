"""Can the pipelines of a config make samples?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmseg_uda.findings import Finding, Level

from .data_sets import EVALUATION, OURS, entries_of, steps_of

AREA = "config"
IMAGE, LABEL, PACK = "LoadFrame", "LoadTrainIds", "PackFields"
IMAGES = (IMAGE, "LoadImageFromFile")
LABELS = (LABEL, "LoadAnnotations")
PACKS = (PACK, "PackSegInputs")
MARGINS = "MarkValid"
RESIZES = ("ResizeFields", "Resize", "RandomScaleCrop")
SHRINKING = ("ResizeFields", "Resize")
OTHERS = (
    *("CenterCropPad", "CropFields", "FlipFields", "LoadConfidence", "LoadDiagnosisLabel"),
    *("LoadRemappedDepth", "RandomColorJitter", "RandomGaussianBlur", "ResizeToScore"),
)
STOCK = (
    *("PhotoMetricDistortion", "RandomFlip", "RandomCrop", "RandomResize", "RandomRotate"),
    *("RandomCutOut", "ResizeShortestEdge", "ResizeToMultiple", "Pad", "Normalize", "CLAHE"),
    *("AdjustGamma", "RGB2Gray", "Rerange", "RandomGrayscale", "CenterCrop", "Albu"),
)
"""Of mmsegmentation and mmcv: they change what is loaded."""
KNOWN = {*IMAGES, *LABELS, *PACKS, MARGINS, *RESIZES, *OTHERS, *STOCK}
"""Where a pipeline has another step, nobody knows what that loads: nothing is said about it."""


def check_pipelines(config: Mapping[str, Any]) -> list[Finding]:
    """Looks for pipelines that do not load or pack what their samples need."""
    findings = []
    metrics = config.get("val_evaluator")
    writes = isinstance(metrics, Mapping) and bool(metrics.get("format_only"))
    for key, role, item in entries_of(config):
        if item.get("type") not in {*OURS, "AlignedDataset"} or key.endswith(".images"):
            continue
        if key.startswith("test_dataloader"):  # of tools/test.py, which may only write predictions
            continue
        names = [str(step.get("type")) for step in steps_of(item)]
        if not set(names) <= KNOWN:
            continue
        labelled = "target" not in key.split(".") and not (role == EVALUATION and writes)
        findings += [
            Finding(AREA, Level.PROBLEM, f"{key}: {text}", fix=fix)
            for text, fix in [
                *_faults(names, item, labelled),
                *(_shrunk(names) if role == EVALUATION else ()),
            ]
        ]
    return findings


def _shrunk(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Predictions are compared with labels at the size of the image file."""
    label, resized = _first(names, LABELS), _first(names, SHRINKING)
    if label is not None and resized is not None and label < resized:
        yield (
            f"its pipeline has {names[resized]} behind {names[label]}: labels would be resized, "
            "predictions are not",
            f"put dict(type='{LABEL}') behind the resize",
        )


def _faults(
    names: Sequence[str], item: Mapping[str, Any], labelled: bool
) -> Iterator[tuple[str, str]]:
    """Yields what is wrong, and the remedy."""
    if not names:
        yield (
            "it has no pipeline: nothing would be loaded",
            f"add pipeline=[dict(type='{IMAGE}'), ...]",
        )
        return
    image = _first(names, IMAGES)
    if image is None:
        yield "its pipeline loads no image", f"begin it with dict(type='{IMAGE}')"
    elif image > 0 and names[0] not in LABELS:
        yield (
            f"its pipeline has {names[0]} before {names[image]}",
            f"begin it with dict(type='{IMAGE}')",
        )
    if labelled and item.get("images_only"):
        yield "it is used without labels (images_only)", "describe a labelled data set here"
    elif labelled and _first(names, LABELS) is None:
        yield (
            "its labels are needed, but its pipeline does not load them",
            f"add dict(type='{LABEL}') behind {IMAGE}",
        )
    pack = _first(names, PACKS)
    if pack is None:
        yield "its pipeline does not pack the sample", f"end it with dict(type='{PACK}')"
    elif pack < len(names) - 1:
        yield f"its pipeline has {names[pack + 1]} behind {names[pack]}", f"end it with {PACK}"
    marks, resized = _first(names, (MARGINS,)), _first(names, RESIZES)
    if marks is not None and resized is not None and resized < marks:
        yield (
            f"its pipeline has {names[resized]} before {MARGINS}, whose margins are pixels of the "
            "native image",
            f"put dict(type='{MARGINS}') behind {IMAGE}",
        )


def _first(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((i for i, name in enumerate(names) if name in wanted), None)
