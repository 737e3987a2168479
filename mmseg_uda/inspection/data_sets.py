"""The data sets that configs read, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level, problem
from mmseg_uda.labels import PUBLISHED_FILE, Counts, FileReport, Header, read_headers
from mmseg_uda.taxonomy import LAYOUTS, DataLocation, Taxonomy, load_taxonomy
from mmseg_uda.taxonomy.folders import Leftovers
from mmseg_uda.taxonomy.layouts import DEPTH_LOADER

from .look import LabelContent, chosen, label_content, look_at, newer_than

AREA = "data"
TRAINING, EVALUATION = "training", "evaluation"
LOADERS = {
    "train_dataloader": TRAINING,
    "val_dataloader": EVALUATION,
    "test_dataloader": EVALUATION,
}
OURS = {*LAYOUTS, "TaxonomyDataset"}


@dataclass
class DataSet:
    """A data set that configs read.

    Attributes:
        item: Its config.
        location: Where its files lie.
        key: Where in the first config, for example ``train_dataloader.dataset.source``.
        roles: What it is read for, ``TRAINING`` or ``EVALUATION`` or both.
        may_read_depth: Whether a bank of its crops, which takes depth files, may have to be drawn.
        rare_class_sampling: Options of the rare class sampling that reads its statistics.
        reports: What its files told, if they were decoded.
    """

    item: Mapping[str, Any]
    location: DataLocation
    key: str
    roles: set[str] = field(default_factory=set)
    may_read_depth: bool = False
    rare_class_sampling: Mapping[str, Any] | None = None
    reports: list[FileReport] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Name for messages: the data set and its image folder."""
        return f"{self.location.title} ({self.location.image_folder})"

    @property
    def needs_depth(self) -> bool:
        """Whether a transform loads depth files."""
        return any(step.get("type") == DEPTH_LOADER for step in steps_of(self.item))

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """Its label space.

        Raises:
            UserError: There is no such taxonomy.
        """
        return load_taxonomy(self.item.get("taxonomy", "cityscapes19"))

    @property
    def label_map(self) -> Any:
        """As its config says."""
        return self.item.get("label_map")

    @property
    def reads_raw_ids(self) -> bool:
        """Whether the label files hold ids of their own instead of trainIds."""
        return bool(self.taxonomy.space_of(self.label_map))

    @cached_property
    def _found(self) -> tuple[list[str], Leftovers]:
        left = Leftovers()
        return self.location.images(left), left

    @property
    def images(self) -> list[str]:
        """Names of all images, sorted.

        Raises:
            UserError: There is none, or one that is listed is missing or there twice.
        """
        return self._found[0]

    @property
    def left(self) -> Leftovers:
        """What lies in the image folder and is not used."""
        return self._found[1]

    @cached_property
    def labels(self) -> list[str]:
        """Name of every image's label, whether or not it exists; [] for images without labels."""
        if self.location.label_folder is None:
            return []
        return [self.location.label_name(image) for image in self.images]

    def image_path(self, name: str) -> str:
        """Returns the path of an image."""
        return f"{self._folders[0]}/{name}"

    def label_path(self, name: str) -> str:
        """Returns the path of a label."""
        return f"{self._folders[1]}/{name}"

    def label_of(self, image: str) -> str:
        """Returns the path of an image's label."""
        return self.label_path(self.location.label_name(image))

    def depth_of(self, image: str) -> str:
        """Returns the path of an image's depth file."""
        return f"{self._folders[2]}/{self.location.depth_name(image)}"

    @cached_property
    def _folders(self) -> tuple[str, str, str]:
        place = self.location  # looks at the disk to find the folders of some data sets
        return str(place.image_folder), str(place.label_folder), str(place.depth_folder)

    @cached_property
    def image_headers(self) -> list[Header | UserError]:
        """Of every image, in order."""
        return self._headers(list(map(self.image_path, self.images)), "images")

    @cached_property
    def label_headers(self) -> list[Header | UserError]:
        """Of every image's label, in order; [] for images without labels."""
        return self._headers(list(map(self.label_path, self.labels)), "labels")

    @cached_property
    def depth_headers(self) -> list[Header | UserError]:
        """Of every image's depth file, in order; [] where no depth is loaded."""
        wanted = self.needs_depth or self.may_read_depth
        paths = list(map(self.depth_of, self.images)) if wanted else []
        return self._headers(paths, "depth files")

    @cached_property
    def label_contents(self) -> dict[str, LabelContent | UserError]:
        """Label path -> what it holds, of some labels, or what is wrong with it.

        Small data sets are read whole. Of others some labels are read that are spread evenly, and
        the newest where they are newer than the statistics beside them.
        """
        positions = chosen(self.label_headers)
        paths = [self.label_path(self.labels[i]) for i in positions]
        statistics = Path(self.location.root, PUBLISHED_FILE)
        if self.rare_class_sampling is not None and statistics.is_file():
            paths += newer_than(statistics, map(self.label_path, self.labels))
        return look_at(list(dict.fromkeys(paths)), label_content)

    @property
    def counts(self) -> dict[str, Counts]:
        """Label path -> pixels by id in the file: of all labels if they were decoded."""
        if self.reports:
            return {self.label_of(r.image): r.ids for r in self.reports if r.ids is not None}
        contents = self.label_contents.items()
        return {path: c.counts for path, c in contents if isinstance(c, LabelContent)}

    def _headers(self, paths: list[str], what: str) -> list[Header | UserError]:
        return read_headers(paths, f"Looking at the {what} of {self.location.title}")


def collect(configs: Iterable[Mapping[str, Any]], findings: list[Finding]) -> list[DataSet]:
    """Returns the data sets of ours that training and evaluation read, each once.

    Args:
        configs: Resolved configs.
        findings: Gets a problem for each whose options are wrong.
    """
    found: dict[tuple, DataSet] = {}
    for config in configs:
        for key, role, item in entries_of(config):
            if item.get("type") not in OURS:
                continue
            try:
                location = DataLocation.create(**item)
            except UserError as error:
                findings.append(problem(AREA, error))
                continue
            except Exception as error:  # values of types that nobody thought of
                text = f"{key}: its options cannot be read ({type(error).__name__}: {error})."
                findings.append(Finding(AREA, Level.PROBLEM, text, fix="Correct its options."))
                continue
            same = (location, repr(item.get("label_map")), repr(item.get("taxonomy")))
            one = found.setdefault(same, DataSet(item, location, key))
            one.roles.add(role)
            if key == "train_dataloader.dataset.source":
                pair = config["train_dataloader"]["dataset"]
                one.rare_class_sampling = pair.get("rare_class_sampling")
                one.may_read_depth = bool((config.get("uda") or {}).get("depth"))
    return list(found.values())


def entries_of(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yields key, role and config of every data set, in wrappers or alone, of whatever package."""
    for loader, role in LOADERS.items():
        settings = config.get(loader)
        if isinstance(settings, Mapping) and isinstance(settings.get("dataset"), Mapping):
            for key, item in _parts(f"{loader}.dataset", settings["dataset"]):
                yield key, role, item


def _parts(key: str, item: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    nested = {name: item.get(name) for name in ("source", "target", "dataset")}
    if isinstance(item.get("images"), Mapping):  # of aligned labels
        nested["images"] = {**item["images"], "images_only": True}
    more = item.get("targets")
    nested |= {f"targets.{k}": v for k, v in more.items()} if isinstance(more, Mapping) else {}
    more = item.get("datasets")
    nested |= {f"datasets.{i}": v for i, v in enumerate(more)} if isinstance(more, list) else {}
    inner = {name: part for name, part in nested.items() if isinstance(part, Mapping)}
    for name, part in inner.items():
        yield from _parts(f"{key}.{name}", part)
    if not inner or "images" in inner:
        yield key, item


def steps_of(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the transforms in a data set's config."""
    steps = item.get("pipeline")
    return [s for s in steps if isinstance(s, Mapping)] if isinstance(steps, (list, tuple)) else []
