"""Data sets, transforms, pair sampling and batch preparation; registers all of them."""

from . import _quiet_import, transforms  # noqa: F401
from .aligned_dataset import AlignedDataset
from .class_uniform import (
    ClassUniformSampling,
    class_centroids,
    class_uniform_list,
    repeated_choice,
    tile_origins,
)
from .multi_target import MultiTargetDataset
from .pair_dataset import DomainPairDataset
from .preprocessor import DomainDataPreProcessor
from .rare_class import RareClassSampling, rare_class_probabilities
from .sampler import PairSampler
from .statistics import class_pixel_counts
from .taxonomy_dataset import (
    ACDC,
    BDD100K,
    GTA,
    IDD,
    SYNTHIA,
    CamVid,
    Cityscapes,
    DarkZurich,
    Mapillary,
    MiniGTA,
    TaxonomyDataset,
)

__all__ = [
    "ACDC",
    "BDD100K",
    "GTA",
    "IDD",
    "SYNTHIA",
    "AlignedDataset",
    "CamVid",
    "Cityscapes",
    "ClassUniformSampling",
    "DarkZurich",
    "DomainDataPreProcessor",
    "DomainPairDataset",
    "Mapillary",
    "MiniGTA",
    "MultiTargetDataset",
    "PairSampler",
    "RareClassSampling",
    "TaxonomyDataset",
    "class_centroids",
    "class_pixel_counts",
    "class_uniform_list",
    "rare_class_probabilities",
    "repeated_choice",
    "tile_origins",
]
