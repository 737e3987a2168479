"""Data sets, transforms, pair sampling and batch preparation; registers all of them."""

from . import transforms  # noqa: F401
from .pair_dataset import DomainPairDataset
from .preprocessor import DomainDataPreProcessor
from .rare_class import RareClassSampling, rare_class_probabilities
from .sampler import PairSampler
from .statistics import class_pixel_counts
from .taxonomy_dataset import (
    ACDC,
    BDD100K,
    GTA,
    SYNTHIA,
    Cityscapes,
    DarkZurich,
    Mapillary,
    TaxonomyDataset,
)

__all__ = [
    "ACDC",
    "BDD100K",
    "GTA",
    "SYNTHIA",
    "Cityscapes",
    "DarkZurich",
    "DomainDataPreProcessor",
    "DomainPairDataset",
    "Mapillary",
    "PairSampler",
    "RareClassSampling",
    "TaxonomyDataset",
    "class_pixel_counts",
    "rare_class_probabilities",
]
