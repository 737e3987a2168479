"""Weights: names of published checkpoints, pretrained encoders, loading whole segmentors."""

from mmseg_uda.models.weights.reference_names import (
    from_reference_names,
    reference_parameter_names,
    to_reference_names,
)

__all__ = [
    "from_reference_names",
    "reference_parameter_names",
    "to_reference_names",
]
