"""Labels of target images, for measuring pseudo-labels and for nothing else."""

from __future__ import annotations

from mmseg.registry import TRANSFORMS

from .loading import LoadTrainIds

DIAGNOSIS_LABEL = "diagnosis_label"


@TRANSFORMS.register_module()
class LoadDiagnosisLabel(LoadTrainIds):
    """Reads ``seg_map_path`` to ``diagnosis_label``: uint8 trainIds, (h, w), native resolution.

    The name keeps it apart from a training label: it is no ``gt_seg_map``, so that no crop is
    chosen by it and no loss finds it. ``DomainPairDataset`` adds this transform to the target's
    pipeline when ``target_labels_for_diagnosis`` is set.

    Raises:
        UserError: As ``LoadTrainIds``.
    """

    def transform(self, results: dict) -> dict:
        """Adds diagnosis_label and lists it in seg_fields."""
        results = super().transform(results)
        if "gt_seg_map" in results:
            results[DIAGNOSIS_LABEL] = results.pop("gt_seg_map")
            results["seg_fields"].remove("gt_seg_map")
            results["seg_fields"].append(DIAGNOSIS_LABEL)
        return results
