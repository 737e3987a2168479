"""Pairs of a labelled source sample and an unlabelled target sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.structures import PixelData
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from mmseg_uda.errors import UserError

from .class_uniform import ClassUniformSampling
from .randomness import permuted_index, sample_randomness
from .rare_class import RareClassSampling
from .taxonomy_dataset import TaxonomyDataset
from .transforms.diagnosis import LoadDiagnosisLabel


@DATASETS.register_module()
class DomainPairDataset(Dataset):
    """Source sample + target sample, both a function of (seed, position) alone.

    Without rare class sampling every pair of source and target sample comes once per |S| x |T|
    positions, in shuffled order. With it, the source is drawn by class and the target uniformly.
    With class-uniform sampling the source runs through the lists of its epochs.

    An item is ``dict(source=dict(inputs, data_samples), target=dict(inputs, data_samples))``.

    Args:
        source: Config of the labelled data set.
        target: Config of the target data set; None trains on the source alone.
        rare_class_sampling: Options of ``RareClassSampling``, or None.
        class_uniform_sampling: Options of ``ClassUniformSampling``, or None; not together with
            ``rare_class_sampling``.
        sync_crop_size: (height, width) of a second crop at one position for both images, inside
            the first crop; for ablations with small crops.
        target_labels_for_diagnosis: Also load the target's labels, as the field
            ``diagnosis_label``, with which ``PseudoLabelQuality`` measures pseudo-labels. They
            reach no loss: a training has the same numbers with and without. Off, because an
            adaptation has no target labels.

    Raises:
        UserError: The two data sets differ in classes, palette or ignore index, an option is
            unknown, or target labels are asked for and missing.
    """

    RCS_KEYS = ("min_pixels", "min_share", "class_temp", "min_crop_ratio")
    CUS_KEYS = ("share", "tile")

    def __init__(
        self,
        source: Mapping[str, Any] | Dataset,
        target: Mapping[str, Any] | Dataset | None = None,
        rare_class_sampling: Mapping[str, Any] | None = None,
        sync_crop_size: Sequence[int] | None = None,
        target_labels_for_diagnosis: bool = False,
        class_uniform_sampling: Mapping[str, Any] | None = None,
    ) -> None:
        self.source = _build(source)
        if target_labels_for_diagnosis:
            target = _with_diagnosis_label(target)
        self.target = None if target is None else _build(target)
        if self.target is not None:
            _check_same_taxonomy(self.source, self.target)
        self.sync_crop_size = None if sync_crop_size is None else tuple(sync_crop_size)
        if rare_class_sampling is not None and class_uniform_sampling is not None:
            raise UserError(
                "rare_class_sampling and class_uniform_sampling both choose the source image.",
                fix="Set one of them to None.",
            )
        self.rare_class_sampling: RareClassSampling | None = None
        if rare_class_sampling is not None:
            self._check_sampling("rare_class_sampling", rare_class_sampling, self.RCS_KEYS)
            self.rare_class_sampling = RareClassSampling(self.source, **rare_class_sampling)
        self.class_uniform_sampling: ClassUniformSampling | None = None
        if class_uniform_sampling is not None:
            self._check_sampling("class_uniform_sampling", class_uniform_sampling, self.CUS_KEYS)
            self.class_uniform_sampling = ClassUniformSampling(
                self.source, **class_uniform_sampling
            )

    def _check_sampling(self, name: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise UserError(f"{name} has no option '{unknown[0]}'.", fix=f"Use {', '.join(known)}.")
        if not isinstance(self.source, TaxonomyDataset):
            raise UserError(f"{name} needs a TaxonomyDataset as source.")

    @property
    def metainfo(self) -> dict:
        """Classes and palette, the same for both domains."""
        return self.source.metainfo

    def __len__(self) -> int:
        return len(self.source) * (1 if self.target is None else len(self.target))

    def __getitem__(self, key: tuple[int | None, int] | int) -> dict:
        """Returns the pair at (seed, position); seed None counts through both data sets in order.

        A plain position stands for seed None.
        """
        seed, position = key if isinstance(key, tuple) else (None, key)
        with sample_randomness(seed or 0, position) as rng:
            item = {}
            source_index, target_index = self._pair(seed, position)
            if self.rare_class_sampling is not None and seed is not None:
                source_index, class_id = self.rare_class_sampling.draw(rng)
                target_index = int(rng.integers(len(self.target))) if self.target else 0
                item["source"] = self.rare_class_sampling.sample(source_index, class_id)
            elif self.class_uniform_sampling is not None and seed is not None:
                source_index, centroid = self.class_uniform_sampling.draw(seed, position)
                target_index = int(rng.integers(len(self.target))) if self.target else 0
                item["source"] = self.class_uniform_sampling.sample(source_index, centroid)
            else:
                item["source"] = self.source[source_index]
            if self.target is not None:
                item["target"] = self.target[target_index]
            if self.sync_crop_size is not None:
                _crop_alike(item, self.sync_crop_size, rng)
        return item

    def _pair(self, seed: int | None, position: int) -> tuple[int, int]:
        targets = 1 if self.target is None else len(self.target)
        if seed is None:
            return position % len(self.source), position % targets
        return divmod(permuted_index(position, len(self), seed), targets)


def _build(dataset: Mapping[str, Any] | Dataset) -> Any:
    return DATASETS.build(dict(dataset)) if isinstance(dataset, Mapping) else dataset


def _with_diagnosis_label(target: Any) -> dict[str, Any]:
    """The config of a target data set that also loads labels, for diagnosis."""
    if not isinstance(target, Mapping) or not target.get("pipeline"):
        raise UserError(
            "target_labels_for_diagnosis needs a target with a pipeline in its config.",
            fix="Leave it out.",
        )
    # Right after the image, at native resolution, like any label.
    first, *rest = target["pipeline"]
    pipeline = [first, dict(type=LoadDiagnosisLabel.__name__), *rest]
    return {**target, "images_only": False, "pipeline": pipeline}


def _check_same_taxonomy(source: Any, target: Any) -> None:
    for what in ("classes", "palette"):
        ours, theirs = source.metainfo.get(what), target.metainfo.get(what)
        if list(map(_plain, ours)) != list(map(_plain, theirs)):
            raise UserError(
                f"Source and target differ in their {what}: {list(ours)[:3]}... and "
                f"{list(theirs)[:3]}...",
                fix="Give both data sets the same taxonomy; a label_map translates labels.",
            )
    if source.ignore_index != target.ignore_index:
        raise UserError(
            f"Source ignores label {source.ignore_index}, target {target.ignore_index}.",
            fix="Give both data sets the same taxonomy.",
        )


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else tuple(value)


def _crop_alike(item: dict, size: tuple[int, ...], rng: np.random.Generator) -> None:
    """Crops all domains of a packed item to one random box, in place.

    The box lies inside the part that all domains have; images smaller than their first crop are
    padded only later, by the preprocessor.
    """
    extents = [tuple(domain["inputs"].shape[1:]) for domain in item.values()]
    y0, x0 = (
        int(rng.integers(max(min(e[axis] for e in extents) - size[axis], 0) + 1)) for axis in (0, 1)
    )
    rows, columns = slice(y0, y0 + size[0]), slice(x0, x0 + size[1])
    for domain in item.values():
        domain["inputs"] = domain["inputs"][:, rows, columns].contiguous()
        sample = domain["data_samples"]
        for name in sample.keys():  # noqa: SIM118 (a data element, not a dict)
            data = sample.get(name).data[:, rows, columns].contiguous()
            sample.set_data({name: PixelData(data=data)})
        sample.set_metainfo({"img_shape": tuple(domain["inputs"].shape[1:])})
