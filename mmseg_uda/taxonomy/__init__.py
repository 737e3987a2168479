"""Label spaces and data set layouts, as data. Nothing here imports torch."""

from .layouts import DEPTH_LOADER, LAYOUTS, Layout, MissingPath
from .llm_prompts import candidates_prompt, contexts_prompt, import_answers, read_answer
from .locations import DataLocation
from .needs import missing_paths, parts_of
from .published_splits import LIST_FOLDER, available_splits, published_split
from .taxonomy import Taxonomy, available_taxonomies, load_taxonomy
from .taxonomy_map import TaxonomyMap, available_taxonomy_maps, load_taxonomy_map
from .writing import taxonomy_from, taxonomy_text

__all__ = [
    "DEPTH_LOADER",
    "LAYOUTS",
    "LIST_FOLDER",
    "DataLocation",
    "Layout",
    "MissingPath",
    "Taxonomy",
    "TaxonomyMap",
    "available_splits",
    "available_taxonomies",
    "available_taxonomy_maps",
    "candidates_prompt",
    "contexts_prompt",
    "import_answers",
    "load_taxonomy",
    "load_taxonomy_map",
    "missing_paths",
    "parts_of",
    "published_split",
    "read_answer",
    "taxonomy_from",
    "taxonomy_text",
]
