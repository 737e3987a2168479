"""Label spaces and data set layouts, as data. Nothing here imports torch."""

from .layouts import DEPTH_LOADER, LAYOUTS, Layout, MissingPath, resolve_data_root
from .locations import DataLocation, missing_paths
from .taxonomy import Taxonomy, available_taxonomies, load_taxonomy

__all__ = [
    "DEPTH_LOADER",
    "LAYOUTS",
    "DataLocation",
    "Layout",
    "MissingPath",
    "Taxonomy",
    "available_taxonomies",
    "load_taxonomy",
    "missing_paths",
    "resolve_data_root",
]
