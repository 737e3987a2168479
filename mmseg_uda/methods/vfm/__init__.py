"""VFM-UDA++ (https://arxiv.org/abs/2503.10685): distilled features of a foundation model."""

from mmseg_uda.methods.vfm.feature_distillation import FeatureDistillation, distillation_loss

__all__ = ["FeatureDistillation", "distillation_loss"]
