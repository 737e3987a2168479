"""Begins a training on own data: a folder with a taxonomy and a config, from what the data show.

Nothing here imports torch.
"""

from .classes import ClassOf, Ids, count_labels, decide_classes
from .pairs import Images, find_images, find_pairs
from .writing import Plan, config_text, taxonomy_text

__all__ = [
    "ClassOf",
    "Ids",
    "Images",
    "Plan",
    "config_text",
    "count_labels",
    "decide_classes",
    "find_images",
    "find_pairs",
    "taxonomy_text",
]
