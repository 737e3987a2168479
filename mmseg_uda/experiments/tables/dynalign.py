"""DynAlign's tables: a source model, its alignment to a finer taxonomy, retraining on the result.

Sun et al., ICLR 2025; arXiv 2501.16410. Rows are the files of ``configs/dynalign``; a row takes the
results of earlier rows with the same seed.
"""

from __future__ import annotations

from typing import Any

from mmseg_uda.experiments.grid import Experiment, Row

METRICS = ("mIoU", "mIoU_known", "mIoU_new", "mIoU_upstream", "aAcc")

SOURCE, COMPLETE, LABELS = "source model", "direct inference", "labels for retraining"
FROM_SOURCE = (("source.run", SOURCE, ""), ("source.config", SOURCE, "../configs/{name}.py"))
# Regions and features of the same images: an option of the decision needs no encoding.
FROM_COMPLETE = (*FROM_SOURCE, ("reuse", COMPLETE, ""))
FOR_RETRAINING = (
    ("uda.source_checkpoint", SOURCE, ""),
    ("train_dataloader.dataset.source.results", LABELS, "train"),
)

UNKNOWN = "The paper's tables could not be obtained: no published numbers stand beside ours."
CLASSES = (
    "mIoU: over the evaluated classes that occur. Known classes are the defaults of a source "
    "class, new ones the other evaluated classes; 'upstream' averages as the released evaluation "
    "does, where an ignored class that is predicted counts as 0."
)
COST = "Cost: s/it of a row that aligns is seconds per image."
SOURCE_NOTE = "Its numbers are those of the 19 classes on Cityscapes, where it was adapted to."
RETRAINING = "Retraining is a recipe of ours; the original's is not released."


def row(
    label: str,
    stem: str,
    inputs: tuple[tuple[str, str, str], ...] = (),
    tag: str = "",
    note: str = "",
    counts: bool = True,
    **changes: Any,
) -> Row:
    """A row that runs ``configs/dynalign/<stem>.py``.

    Args:
        label: What the table calls it.
        stem: Name of the file.
        inputs: See ``Row``.
        tag: What tells a changed file's jobs apart in their names.
        note: What the reader should know.
        counts: Whether it is a result of the method.
        **changes: Options with ``__`` in place of dots.
    """
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    name = f"{stem}_{tag}" if tag else stem
    return Row(
        label, f"dynalign/{stem}", dotted, note=note, counts=counts, name=name, inputs=inputs
    )


def source_model(stem: str = "gtaHR2csHR_hrda") -> Row:
    """The adapted model whose predictions are aligned."""
    return Row(
        SOURCE,
        f"hrda/{stem}",
        note=SOURCE_NOTE,
        counts=False,
        name=stem,
        metrics=("mIoU", "aAcc"),  # known and new classes are those of the other taxonomy
    )


def default_only(stem: str) -> Row:
    """The source model's classes under their default names: what alignment has to beat."""
    changes: dict[str, Any] = {"alignment__options__threshold": 1.0}
    return row("default mapping (threshold 1.0)", stem, FROM_COMPLETE, "default", **changes)


def benchmark(number: int, target: str, title: str) -> Experiment:
    """Direct inference and retraining on one target."""
    stem = f"gta2{target}"
    return Experiment(
        id=number,
        paper="DynAlign",
        table=f"GTA → {title}",
        title=f"GTA → {title}: default mapping, direct inference, retraining",
        rows=(
            source_model(),
            row(COMPLETE, f"{stem}_dynalign", FROM_SOURCE),
            default_only(f"{stem}_dynalign"),
            row(LABELS, f"{stem}_labels", FROM_SOURCE, counts=False),
            row("retraining", f"{stem}_retrain", FOR_RETRAINING, note=RETRAINING),
        ),
        metrics=METRICS,
        notes=(UNKNOWN, CLASSES, COST),
    )


def ablation(label: str, tag: str, **options: Any) -> Row:
    """Direct inference on Mapillary with other options of the alignment."""
    changes: dict[str, Any] = {f"alignment__options__{n}": v for n, v in options.items()}
    return row(label, "gta2mapillary_dynalign", FROM_COMPLETE, tag, **changes)


def proposer(label: str, tag: str, **options: Any) -> Row:
    """Direct inference on Mapillary with regions from elsewhere; SAM's are not taken over."""
    changes: dict[str, Any] = {"alignment__proposer": options}
    return row(label, "gta2mapillary_dynalign", FROM_SOURCE, tag, **changes)


DYNALIGN_TABLES = (
    benchmark(600, "mapillary", "Mapillary Vistas"),
    benchmark(601, "idd", "IDD"),
    Experiment(
        id=602,
        paper="DynAlign",
        table="ablation: fusion and decision",
        title="GTA → Mapillary Vistas: features, texts, candidates and threshold of the alignment",
        rows=(
            source_model(),
            row(COMPLETE, "gta2mapillary_dynalign", FROM_SOURCE),
            ablation("context only", "context", fusion="context"),
            ablation("region only", "region", fusion="none"),
            ablation("equal parts (no dynamic fusion)", "mean", fusion="mean"),
            ablation("region not blackened", "unmasked", masked=False),
            ablation("one size of context", "small", context_offsets=(0,)),
            ablation("the larger context alone", "large", context_offsets=(200,)),
            ablation("class names only", "names", contexts="name"),
            ablation("no shared candidates", "noshared", shared=False),
            ablation("unit text features averaged", "textnorm", normalize_before_mean=True),
            ablation("fused feature renormalised", "renorm", renormalize=True),
            *(
                ablation(f"threshold {value}", f"t{value:g}".replace(".", ""), threshold=value)
                for value in (0.0, 0.2, 0.4, 0.8)
            ),
            default_only("gta2mapillary_dynalign"),
        ),
        metrics=METRICS,
        notes=(UNKNOWN, CLASSES, "Row 2 has the published threshold of the script, 0.6."),
    ),
    Experiment(
        id=603,
        paper="DynAlign",
        table="ablation: regions",
        title="GTA → Mapillary Vistas: where regions come from, and how they vote",
        rows=(
            source_model(),
            row(COMPLETE, "gta2mapillary_dynalign", FROM_SOURCE),
            proposer("SLIC superpixels", "slic", type="SLICProposer"),
            proposer("Felzenszwalb's regions", "felz", type="FelzenszwalbProposer"),
            proposer("square cells", "grid", type="GridProposer"),
            proposer("areas of the source prediction", "areas", type="ConnectedComponentProposer"),
            row(
                "soft votes",
                "gta2mapillary_dynalign",
                FROM_SOURCE,
                "soft",
                alignment__options__vote="soft",
            ),
        ),
        metrics=METRICS,
        notes=(UNKNOWN, CLASSES, COST),
    ),
    Experiment(
        id=604,
        paper="DynAlign",
        table="closed set",
        title="GTA → Cityscapes: the alignment as a control, among the 19 classes themselves",
        rows=(
            source_model(),
            row(COMPLETE, "gta2cs_closed_dynalign", FROM_SOURCE),
            default_only("gta2cs_closed_dynalign"),
        ),
        metrics=("mIoU", "mIoU_upstream", "aAcc"),
        notes=(UNKNOWN,),
    ),
    Experiment(
        id=605,
        paper="DynAlign",
        table="closed set, SYNTHIA",
        title="SYNTHIA → Cityscapes: the alignment as a control, with classes the source lacks",
        rows=(
            source_model("synHR2csHR_hrda"),
            row(COMPLETE, "syn2cs_closed_dynalign", FROM_SOURCE),
            default_only("syn2cs_closed_dynalign"),
        ),
        metrics=("mIoU", "mIoU_upstream", "aAcc"),
        notes=(UNKNOWN,),
    ),
)
