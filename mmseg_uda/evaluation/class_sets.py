"""Mean IoU over sets of classes: evaluated, known and new ones (DynAlign)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from rich.console import Console
from rich.table import Table

from mmseg_uda.errors import UserError
from mmseg_uda.evaluation.streaming_iou import StreamingIoU
from mmseg_uda.taxonomy import Taxonomy, TaxonomyMap, load_taxonomy_map

MEANS = ("mIoU_eval", "mIoU_known", "mIoU_new", "mIoU_upstream", "aAcc", "mAcc")


@dataclass(frozen=True)
class ClassSets:
    """Which classes of a taxonomy are evaluated, and which of them are known.

    Attributes:
        classes: Names of all K classes.
        evaluated: Ids over which the mean runs; pixels with another label do not count.
        known: Ids that a source class becomes by default; the other evaluated ones are new.
    """

    classes: tuple[str, ...]
    evaluated: tuple[int, ...]
    known: tuple[int, ...]

    @classmethod
    def create(
        cls,
        taxonomy_map: TaxonomyMap,
        evaluated: Sequence[int | str] | str | None = None,
        known: Sequence[int | str] | str | None = None,
    ) -> ClassSets:
        """The sets of a map, or others: classes by name or id, and subsets of the taxonomy by name.

        ``[]`` as ``evaluated`` takes all classes.

        Raises:
            UserError: The target taxonomy has no such class.
        """
        target = taxonomy_map.target
        return cls(
            classes=target.classes,
            evaluated=_ids(target, evaluated, taxonomy_map.eval_ids),
            known=_ids(target, known, taxonomy_map.known_ids),
        )

    def scores(self, confusion: np.ndarray) -> dict[str, float]:
        """Scores in percent, rounded to two decimals; NaN where nothing contributes.

        Args:
            confusion: int64 (K, K + 1), pixels by label and prediction; the last column counts
                predictions that are no class.

        Returns:
            ``mIoU_eval``, mean over the evaluated classes that are labelled anywhere, also as
            ``mIoU``, the name that checkpoints are selected by; ``mIoU_known`` and ``mIoU_new``,
            over its two parts; ``mIoU_upstream``, over all K classes that are labelled or
            predicted, so that an ignored class that is predicted lowers it, as in the released
            evaluation; ``aAcc`` and ``mAcc``; ``IoU.<class>`` and ``Acc.<class>``.

        Raises:
            UserError: No pixel has an evaluated label.
        """
        classes = len(self.classes)
        scored = np.zeros((classes, classes + 1), np.int64)
        scored[list(self.evaluated)] = confusion[list(self.evaluated)]
        labelled = scored.sum(1)
        if not labelled.any():
            raise UserError(
                "No pixel was evaluated: no label is one of the evaluated classes.",
                fix="Check that labels and taxonomy map belong together, or give other eval_ids.",
            )
        hits = np.diag(scored).astype(np.float64)
        predicted = scored[:, :classes].sum(0)
        with np.errstate(invalid="ignore"):
            iou = hits / (labelled + predicted - hits)
            accuracy = hits / labelled
        counted = np.zeros(classes, bool)
        counted[list(self.evaluated)] = True
        counted &= labelled > 0
        known = np.isin(np.arange(classes), self.known)
        evaluated = _mean(iou[counted])
        result = {
            "mIoU": evaluated,
            "mIoU_eval": evaluated,
            "mIoU_known": _mean(iou[counted & known]),
            "mIoU_new": _mean(iou[counted & ~known]),
            "mIoU_upstream": _mean(iou[np.isfinite(iou)]),
            "aAcc": _percent(hits.sum() / labelled.sum()),
            "mAcc": _mean(accuracy[counted]),
        }
        result |= {f"IoU.{name}": _percent(v) for name, v in zip(self.classes, iou, strict=True)}
        return result | {
            f"Acc.{name}": _percent(v) for name, v in zip(self.classes, accuracy, strict=True)
        }

    def table(self, scores: Mapping[str, float]) -> str:
        """The scores as text: means, then every class that is labelled or predicted."""
        table = Table("class", "set", title="IoU and accuracy in %")
        for column in ("IoU", "Acc"):
            table.add_column(column, justify="right")
        for k, name in enumerate(self.classes):
            iou = scores[f"IoU.{name}"]
            if np.isnan(iou):
                continue
            kind = "known" if k in self.known else "new"
            kind = kind if k in self.evaluated else "not evaluated"
            table.add_row(name, kind, f"{iou:.2f}", f"{scores[f'Acc.{name}']:.2f}")
        table.add_section()
        for name in MEANS:
            table.add_row(name, "", f"{scores[name]:.2f}", "")
        console = Console(width=80, no_color=True, markup=False, emoji=False)
        with console.capture() as capture:
            console.print(table)
        return capture.get()


@METRICS.register_module()
class AlignmentIoU(StreamingIoU):
    """IoU of a network in the target taxonomy of a map: see :meth:`ClassSets.scores`.

    Args:
        taxonomy_map: Name or path of the map.
        eval_ids: Evaluated classes in place of the map's, see :meth:`ClassSets.create`.
        known_ids: Known classes in place of the map's.
        **kwargs: Those of ``StreamingIoU``.
    """

    def __init__(
        self,
        taxonomy_map: str = "mapillary_v5",
        eval_ids: Sequence[int | str] | str | None = None,
        known_ids: Sequence[int | str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        loaded = load_taxonomy_map(taxonomy_map)
        self.sets = ClassSets.create(loaded, eval_ids, known_ids)
        super().__init__(taxonomy=loaded.target, subsets={}, **kwargs)  # type: ignore[arg-type]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Turns the confusion matrix into scores; logs the table."""
        classes = len(self.taxonomy)
        self.check(results[0])
        metrics = self.sets.scores(results[0][:classes, : classes + 1])
        if is_main_process():
            print_log("\n" + self.sets.table(metrics), MMLogger.get_current_instance())
        # One number per class is enough for logs: the table has the accuracies.
        return {name: value for name, value in metrics.items() if not name.startswith("Acc.")}


def _ids(
    target: Taxonomy, given: Sequence[int | str] | str | None, default: Sequence[int]
) -> tuple[int, ...]:
    if given is None:
        return tuple(default)
    ids: set[int] = set()
    for one in [given] if isinstance(given, str) else given or range(len(target)):
        named = one in target.subsets and one not in target.classes
        ids |= set(target.subsets[str(one)]) if named else {target.class_id(one)}
    return tuple(sorted(ids))


def _mean(shares: np.ndarray) -> float:
    return _percent(shares.mean()) if shares.size else float("nan")


def _percent(share: float) -> float:
    return round(float(share) * 100, 2)
