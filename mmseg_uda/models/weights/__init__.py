"""Weights: names of published checkpoints, pretrained encoders, loading whole segmentors."""

from mmseg_uda.models.weights import mmengine_loader  # noqa: F401  (registers itself)
from mmseg_uda.models.weights.checkpoint import (
    load_segmentor_weights,
    write_reference_checkpoint,
)
from mmseg_uda.models.weights.files import atomic_save, meta_of
from mmseg_uda.models.weights.pretrained import (
    BackboneWeights,
    find_weights,
    load_backbone_weights,
)
from mmseg_uda.models.weights.published import (
    is_published,
    local_folder,
    published_meta,
    read_checkpoint,
)
from mmseg_uda.models.weights.reference_names import (
    from_reference_names,
    reference_parameter_names,
    to_reference_names,
)
from mmseg_uda.models.weights.taxonomy_rows import load_with_rows

__all__ = [
    "BackboneWeights",
    "atomic_save",
    "find_weights",
    "from_reference_names",
    "is_published",
    "load_backbone_weights",
    "load_segmentor_weights",
    "load_with_rows",
    "local_folder",
    "meta_of",
    "published_meta",
    "read_checkpoint",
    "reference_parameter_names",
    "to_reference_names",
    "write_reference_checkpoint",
]
