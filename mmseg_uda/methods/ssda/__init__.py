"""SSDA (IEEE TMM 2024): seeds and non-seeds of each target image, with a truncated CRF loss."""

from mmseg_uda.methods.ssda.crf import Kernel, crf_energy, pool_gate, truncated_crf_loss
from mmseg_uda.methods.ssda.dynamic_subdomains import DynamicSubdomains
from mmseg_uda.methods.ssda.seeds import GTA_PRIOR, class_quota, seed_mask
from mmseg_uda.methods.ssda.uncertainty import entropy, jensen_shannon, masked_logits

__all__ = [
    "GTA_PRIOR",
    "DynamicSubdomains",
    "Kernel",
    "class_quota",
    "crf_energy",
    "entropy",
    "jensen_shannon",
    "masked_logits",
    "pool_gate",
    "seed_mask",
    "truncated_crf_loss",
]
