"""Answers the flat ``uda`` keys of older code bases with the keys that replace them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg_uda.errors import UserError

REPLACED = {
    "imnet_feature_dist_lambda": "uda.feature_distance.loss_weight",
    "imnet_feature_dist_classes": "uda.feature_distance.classes",
    "imnet_feature_dist_scale_min_ratio": "uda.feature_distance.min_ratio",
    "mix": "nothing: ClassMix is the only mix",
    "blur": "uda.blur_probability (0.5 for True, 0 for False)",
    "color_jitter_strength": "uda.jitter_strength",
    "color_jitter_probability": "uda.jitter_probability (effective: 1 - the old value)",
    "mask_mode": "uda.masking.mode (uda.masking=None switches masking off)",
    "mask_alpha": "uda.masking.alpha",
    "mask_pseudo_threshold": "uda.masking.pseudo_threshold",
    "mask_lambda": "uda.masking.loss_weight",
    "mask_generator": "uda.masking.mask_ratio and uda.masking.block_size",
    "relabeling_cfg": "uda.relabel.mapping",
    "range_of_relabel_with_mapping_info": "uda.relabel.relabel",
    "range_of_collect_mapping_info": "uda.relabel.collect",
    "patch_bank_capacity": "uda.relabel.bank_capacity",
    "ckpt_for_obj_det": "uda.relabel.detector.checkpoint",
    "matrix_path": "uda.depth.bank (a folder, or the .pth file)",
    "croped_images_path": "uda.depth.bank (the folder that holds images/)",
    "croped_labels_path": "uda.depth.bank (the folder that holds labels/)",
    "dataset": "nothing: a bank tells its source",
    "reweight_threshold": "uda.depth.reweight_threshold",
    "relabel_threshold": "uda.depth.relabel_threshold",
    "threshold_decay": "uda.depth.threshold_decay",
    "debug_img_interval": "default_hooks.debug_panels.interval",
    "print_grad_magnitude": "nothing: it is not offered",
}


def reject_flat_keys(uda: Mapping[str, Any]) -> None:
    """Raises if ``uda`` uses a key of the DAFormer family's flat layout.

    Raises:
        UserError: Names each such key and what replaces it.
    """
    found = [key for key in uda if key in REPLACED]
    if found:
        lines = [f"uda.{key} → {REPLACED[key]}" for key in found]
        raise UserError(
            "The config uses keys of the older, flat layout: " + "; ".join(lines) + ".",
            fix="Rename them; mmseg_uda/engine/flat_keys.py has the whole table.",
        )
