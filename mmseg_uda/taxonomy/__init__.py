"""Label spaces and data set layouts, as data. Nothing here imports torch."""

from .layouts import DEPTH_LOADER, LAYOUTS, Layout, MissingPath, resolve_data_root
from .locations import DataLocation, missing_paths
from .published_splits import LIST_FOLDER, available_splits, published_split
from .taxonomy import Taxonomy, available_taxonomies, load_taxonomy

__all__ = [
    "DEPTH_LOADER",
    "LAYOUTS",
    "LIST_FOLDER",
    "DataLocation",
    "Layout",
    "MissingPath",
    "Taxonomy",
    "available_splits",
    "available_taxonomies",
    "load_taxonomy",
    "missing_paths",
    "published_split",
    "resolve_data_root",
]
