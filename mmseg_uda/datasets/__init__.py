"""Data sets, transforms, pair sampling and batch preparation; registers all of them."""

from . import transforms  # noqa: F401
from .pair_dataset import DomainPairDataset
from .preprocessor import DomainDataPreProcessor
from .rare_class import RareClassSampling, rare_class_probabilities
from .sampler import PairSampler
from .statistics import class_pixel_counts
from .taxonomy_dataset import ACDC, GTA, SYNTHIA, Cityscapes, DarkZurich, TaxonomyDataset

__all__ = [
    "ACDC",
    "GTA",
    "SYNTHIA",
    "Cityscapes",
    "DarkZurich",
    "DomainDataPreProcessor",
    "DomainPairDataset",
    "PairSampler",
    "RareClassSampling",
    "TaxonomyDataset",
    "class_pixel_counts",
    "rare_class_probabilities",
]
