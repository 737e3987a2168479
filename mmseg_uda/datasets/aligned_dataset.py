"""Images of any data set with the labels that an alignment has given them (DynAlign)."""

from __future__ import annotations

import json
import os.path as osp
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmseg.registry import DATASETS

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import read_text
from mmseg_uda.taxonomy import DataLocation, load_taxonomy_map
from mmseg_uda.taxonomy.data_options import PATHS

from .taxonomy_dataset import TaxonomyDataset

LABEL_FOLDERS = ("labels", "label")
"""The published pipeline writes the first, its documentation names the second."""
CONFIDENCE_FOLDER = "confidence"
FAILURES = "failures*.jsonl"


@DATASETS.register_module()
class AlignedDataset(TaxonomyDataset):
    """Target images with aligned labels, in the target taxonomy of a map.

    Images whose alignment failed are left out. Where the folder of results has confidence files,
    ``LoadConfidence`` reads them.

    Args:
        images: Config of the data set of the images, for example
            ``dict(type="Mapillary", split="train")``; its labels are not used.
        results: Folder of the alignment's results, with ``labels`` (or ``label``) and perhaps
            ``confidence`` in it. Files are named like the images.
        taxonomy_map: Name or path of the map that the labels were made with.
        partial: Take the images that have labels, whatever became of the others.
        **kwargs: Those of ``BaseSegDataset`` (pipeline, test_mode, indices, ...).

    Raises:
        UserError: There are no results, or only some images have labels.
    """

    def __init__(
        self,
        images: Mapping[str, Any],
        results: str,
        taxonomy_map: str = "mapillary_v5",
        partial: bool = False,
        **kwargs: Any,
    ) -> None:
        elsewhere = [name for name in kwargs if name in PATHS or name == "taxonomy"]
        if elsewhere:
            raise UserError(
                f"AlignedDataset: {elsewhere[0]}={kwargs[elsewhere[0]]!r} has no effect.",
                fix="images=dict(...) says which images are used, taxonomy_map what labels mean.",
            )
        self.images = DataLocation.create(**{**images, "images_only": True})
        self.partial = partial
        folder = Path(results).absolute()
        there = [name for name in LABEL_FOLDERS if (folder / name).is_dir()]
        if not there:
            raise UserError(
                f"{folder} holds no aligned labels.",
                fix="Make them: python tools/dynalign.py --help; its --out is this folder.",
            )
        super().__init__(
            data_root=str(folder),
            img_dir=str(self.images.image_folder.absolute()),
            label_dir=there[0],
            img_suffix=self.images.img_suffix,
            label_suffix=".png",
            taxonomy=load_taxonomy_map(taxonomy_map).target,  # type: ignore[arg-type]
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Returns image, label and confidence path of every labelled image, sorted by name."""
        failed = self._failed()
        samples, missing = [], []
        labels = self.location.label_folder
        confidence = Path(self.location.root, CONFIDENCE_FOLDER)
        with_confidence = confidence.is_dir()
        for name in self.images.images():
            stem = osp.splitext(name)[0]
            label = osp.join(str(labels), f"{stem}.png")
            if not osp.isfile(label):
                missing.append(stem)
                continue
            sample = {
                "img_path": osp.join(self.images.image_folder, name),
                "seg_map_path": label,
            }
            if with_confidence:
                sample["confidence_path"] = osp.join(confidence, f"{stem}.png")
            samples.append(sample)
        unexplained = [stem for stem in missing if stem not in failed]
        if unexplained and not self.partial:
            raise UserError(
                f"{labels}: {len(unexplained)} of {len(samples) + len(missing)} images have no "
                f"aligned label, the first is {unexplained[0]}.",
                fix="Let the alignment finish: the same command does what is missing.",
            )
        if not samples:
            raise UserError(f"No image has an aligned label; see {self.location.root}.")
        if missing:
            print_log(
                f"{len(missing)} images without an aligned label are left out.", logger="current"
            )
        return samples

    def _failed(self) -> set[str]:
        names = set()
        for file in Path(self.location.root).glob(FAILURES):
            for number, line in enumerate(read_text(file).splitlines(), 1):
                try:
                    names.add(str(json.loads(line)["name"]))
                except (ValueError, LookupError, TypeError, RecursionError) as error:
                    raise UserError(
                        f"{file} is damaged in line {number}: {error}.",
                        fix="Delete it; the alignment writes it anew.",
                    ) from error
        return names
