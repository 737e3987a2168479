"""Data sets on their published folder layouts, labelled in a taxonomy."""

from __future__ import annotations

import copy
import os.path as osp
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_uda.errors import UserError
from mmseg_uda.inspection import wrong_names
from mmseg_uda.labels import LabelIds
from mmseg_uda.taxonomy import DEPTH_LOADER, DataLocation, load_taxonomy
from mmseg_uda.taxonomy.further_options import INSTEAD


@DATASETS.register_module()
class TaxonomyDataset(BaseSegDataset):
    """Images found by a recursive scan, with 8-bit label files in a parallel folder.

    This class serves own data; its subclasses know the layout of a published data set.

    Args:
        data_root: Root folder. A leading ``data/`` is replaced by the environment variable
            MMSEG_UDA_DATA_ROOT, if set. None: the published layout's.
        split: 'train' (default), 'val' or 'test' of the published layout.
        img_dir: Image folder below the root, in place of the split's.
        label_dir: Label folder below the root, in place of the split's.
        img_suffix: End of image file names.
        label_suffix: What replaces it in label file names.
        file_list: File below the root that lists the images in use, one name per line
            (``tools/convert_datasets/splits.py`` writes those of GTA and SYNTHIA). None uses all.
        images_only: Use no labels; nothing has to exist in the label folder.
        depth_dir: Folder of the depth files below the root. None: the image folder with its first
            part replaced by ``depth_any``. Depth files have to exist only where a
            ``LoadRemappedDepth`` in the pipeline reads them.
        depth_suffix: What replaces the image suffix in depth file names.
        taxonomy: Name or path of the taxonomy (``mmseg_uda.taxonomy``).
        label_map: Applied to every label that is read: the name of one of the taxonomy's remaps, a
            dict trainId -> trainId (ids not listed stay), or the name of one of its raw id maps.
        crop_pseudo_margins: Pixels at the (top, bottom, left, right) of the native image that are
            no valid target of a pseudo-label, for the transform ``MarkValid``.
        **kwargs: Those of ``BaseSegDataset`` that have an effect: pipeline, test_mode, indices,
            metainfo, lazy_init, serialize_data, max_refetch.

    Raises:
        UserError: A folder, a label or a depth file is missing; says how to get or make it. Or an
            option of ``BaseSegDataset`` would have no effect; says what to use.
    """

    def __init__(
        self,
        data_root: str | None = None,
        split: str | None = None,
        img_dir: str | None = None,
        label_dir: str | None = None,
        img_suffix: str | None = None,
        label_suffix: str | None = None,
        file_list: str | None = None,
        images_only: bool = False,
        depth_dir: str | None = None,
        depth_suffix: str | None = None,
        taxonomy: str = "cityscapes19",
        label_map: str | Mapping[int, int] | None = None,
        crop_pseudo_margins: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.taxonomy = load_taxonomy(taxonomy)
        self.location = DataLocation.create(
            type=type(self).__name__,
            data_root=data_root,
            split=split,
            img_dir=img_dir,
            label_dir=label_dir,
            img_suffix=img_suffix,
            label_suffix=label_suffix,
            file_list=file_list,
            images_only=images_only,
            depth_dir=depth_dir,
            depth_suffix=depth_suffix,
            taxonomy=self.taxonomy,
            label_map=label_map,
            crop_pseudo_margins=crop_pseudo_margins,
            **kwargs,
        )
        for name in INSTEAD:  # asked for nothing, else they had been refused
            kwargs.pop(name, None)
        self.label_ids = LabelIds.of(self.taxonomy, label_map)
        misread = wrong_names(self.location, self.taxonomy, label_map)
        if misread is not None:
            raise misread
        self.crop_pseudo_margins = _check_margins(crop_pseudo_margins)
        # Nothing to gain from pickling two paths per sample; it costs a garbage collection.
        kwargs.setdefault("serialize_data", False)
        super().__init__(
            img_suffix=self.location.img_suffix,
            seg_map_suffix=self.location.label_suffix,
            metainfo={**(kwargs.pop("metainfo", None) or {}), **self.taxonomy.metainfo()},
            data_root=None,
            ignore_index=self.taxonomy.ignore_index,
            **kwargs,
        )

    def full_init(self) -> None:
        """Finds the samples, and says how many files are used.

        Raises:
            UserError: See the class; or ``indices`` go beyond the images.
        """
        if self._fully_initialized:
            return
        try:
            super().full_init()
        except IndexError as error:
            if self._indices is None:
                raise
            raise UserError(
                f"{self.location.title}: indices={self._indices!r} go beyond the "
                f"{len(self.data_list)} images in {self.location.image_folder}."
            ) from error
        _say_once(self._in_use())

    def _in_use(self) -> str:
        location = self.location
        chosen = "" if location.file_list is None else f", of {location.file_list}"
        if self._indices is not None:
            chosen += ", of indices"
        labels = "" if location.label_folder is None else f" with labels in {location.label_folder}"
        where = f"{location.image_folder}/**/*{location.img_suffix}"
        return f"{location.title}: {len(self)} images{labels} in use ({where}{chosen})"

    def load_data_list(self) -> list[dict]:
        """Returns image, label and depth path of every sample, sorted by image name."""
        folder, labels = self.location.image_folder, self.location.label_folder
        depths = self.location.depth_folder if self._loads_depth() else None
        samples = []
        for name in self.location.images():
            sample = {"img_path": osp.join(folder, name)}
            if labels is not None:
                sample["seg_map_path"] = osp.join(labels, self.location.label_name(name))
            if depths is not None:
                sample["depth_path"] = osp.join(depths, self.location.depth_name(name))
            samples.append(sample)
        if labels is not None:
            self._check_files(samples, "seg_map_path", "label", self.location.label_fix)
        if depths is not None:
            self._check_files(samples, "depth_path", "depth file", self.location.depth_fix)
        return samples

    def _loads_depth(self) -> bool:
        steps = getattr(self.pipeline, "transforms", ())
        return any(type(step).__name__ == DEPTH_LOADER for step in steps)

    def _check_files(
        self, samples: Sequence[dict], key: str, what: str, fix: Callable[[str], str]
    ) -> None:
        absent = [sample[key] for sample in samples if not osp.isfile(sample[key])]
        if absent:
            raise UserError(
                f"{self.location.title}: {len(absent)} of {len(samples)} images have no {what}, "
                f"the first is {absent[0]}.",
                fix=fix(absent[0]),
            )

    def get_data_info(self, idx: int) -> dict:
        """Returns the sample with what its transforms need to know about the data set."""
        info = super().get_data_info(idx)
        info["seg_fields"] = []
        info["reduce_zero_label"] = False
        info["label_ids"] = self.label_ids
        if self.crop_pseudo_margins is not None:
            info["crop_pseudo_margins"] = self.crop_pseudo_margins
        return info

    def prepare_data(self, idx: int) -> dict:
        """Returns the sample under the transforms; see ``needing_labels``."""
        with self.needing_labels():
            return super().prepare_data(idx)

    @contextmanager
    def needing_labels(self) -> Iterator[None]:
        """Within it, transforms run that may look at the label.

        Raises:
            UserError: None before them has loaded it.
        """
        try:
            yield
        except KeyError as error:
            if error.args[:1] not in (("gt_seg_map",), ("gt_sem_seg",)):
                raise
            raise UserError(
                f"{self.location.title} ({self.location.image_folder}): its labels are needed, "
                "but its pipeline does not load them.",
                fix="Add dict(type='LoadTrainIds') behind LoadFrame; without labels, leave out "
                "transforms that look at them.",
            ) from error

    def with_pipeline(self, transforms: Sequence[Callable[[dict], dict]]) -> TaxonomyDataset:
        """Returns the same samples under other transforms.

        Raises:
            UserError: The transforms need files that are missing.
        """
        other = copy.copy(self)
        other.pipeline = Compose(list(transforms))
        other.data_list = []
        other._fully_initialized = False
        other.full_init()
        return other

    def label_path(self, idx: int) -> str:
        """Returns the path of a sample's label file.

        Raises:
            UserError: The data set has images only.
        """
        info = super().get_data_info(idx)
        if "seg_map_path" not in info:
            raise UserError(f"{self.location.title} is used without labels (images_only).")
        return info["seg_map_path"]


@DATASETS.register_module()
class GTA(TaxonomyDataset):
    """Playing for Data (Richter et al., 2016): 24 966 rendered frames of about 1914x1052."""


@DATASETS.register_module()
class SYNTHIA(TaxonomyDataset):
    """SYNTHIA-RAND-CITYSCAPES (Ros et al., 2016): 9 400 rendered frames of 1280x760."""


@DATASETS.register_module()
class Cityscapes(TaxonomyDataset):
    """Cityscapes (Cordts et al., 2016): 2 975 training and 500 validation frames, 2048x1024."""


@DATASETS.register_module()
class ACDC(TaxonomyDataset):
    """ACDC (Sakaridis et al., 2021): fog, night, rain and snow, 1920x1080."""


@DATASETS.register_module()
class DarkZurich(TaxonomyDataset):
    """Dark Zurich (Sakaridis et al., 2019): night-time frames, 1920x1080."""


@DATASETS.register_module()
class BDD100K(TaxonomyDataset):
    """BDD100K (Yu et al., 2020): 7000 training and 1000 validation frames, 1280x720."""


@DATASETS.register_module()
class Mapillary(TaxonomyDataset):
    """Mapillary Vistas v1.2 (Neuhold et al., 2017): 18 000 and 2000 photographs of any size.

    Label files hold the 66 published ids: ``label_map="mapillary12"`` makes Cityscapes classes, and
    ``taxonomy="mapillary66"`` keeps them.
    """


@DATASETS.register_module()
class IDD(TaxonomyDataset):
    """India Driving Dataset (Varma et al., 2019): 6993 training and 981 validation frames.

    Label files hold the 26 ids of level 3: ``taxonomy="idd26"``.
    """


@DATASETS.register_module()
class CamVid(TaxonomyDataset):
    """CamVid (Brostow et al., 2009) as SegNet's tutorial distributes it: 367, 101 and 233 frames.

    480x360. Label files hold 11 ids and 11 for unlabelled pixels: ``taxonomy="camvid11"`` with
    ``label_map="camvid"``. The original, 960x720 and colour-coded, is read once
    ``tools/convert_datasets/camvid.py`` has made trainIds of it; those need no label map.
    """


@DATASETS.register_module()
class MiniGTA(TaxonomyDataset):
    """Rendered streets with the labels of GTA (``tools/make_miniworld.py``), 640x320.

    Labels hold the 19 trainIds; ``taxonomy="camvid11"`` with ``label_map="cityscapes19"`` makes
    CamVid's classes of them.
    """


@cache
def _say_once(text: str) -> None:
    """A data set may be built several times, and under other transforms."""
    print_log(text, logger="current")


def _check_margins(margins: Sequence[int] | None) -> tuple[int, ...] | None:
    if margins is None:
        return None
    four = isinstance(margins, Sequence) and len(margins) == 4
    if not four or any(not isinstance(m, int) or m < 0 for m in margins):
        raise UserError(
            f"crop_pseudo_margins={margins!r} is not four numbers of pixels.",
            fix="Give [top, bottom, left, right], for Cityscapes [30, 240, 30, 30].",
        )
    return tuple(margins)
