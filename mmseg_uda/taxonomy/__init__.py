"""Label spaces and data set layouts, as data. Nothing here imports torch."""

from .layouts import LAYOUTS, DataLocation, Layout, MissingPath, missing_paths, resolve_data_root
from .taxonomy import Taxonomy, available_taxonomies, load_taxonomy

__all__ = [
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
