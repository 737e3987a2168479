"""Which source crops make up a bank."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mmseg_uda.datasets import RareClassSampling, TaxonomyDataset
from mmseg_uda.datasets.randomness import sample_randomness
from mmseg_uda.datasets.transforms import CropFields, LoadRemappedDepth, PackFields, ResizeFields
from mmseg_uda.datasets.transforms.geometry import crop
from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.methods.cdda.bank import BankMeta

SAMPLINGS = ("rcs", "uniform")


@dataclass(frozen=True)
class BankCrop:
    """An entry as it is drawn.

    Attributes:
        image: (h, w, 3) uint8 BGR.
        label: (h, w) uint8 trainIds.
        depth: (h, w) uint8, remapped and truncated.
        origin: File, drawn class, box and flip, for ``index.jsonl``.
    """

    image: np.ndarray
    label: np.ndarray
    depth: np.ndarray
    origin: dict[str, Any]


class BankDraws(Dataset):
    """The entries of a bank: a function of (settings, seed, number) alone.

    An entry is a training crop of the source, drawn and augmented as in a training with the same
    config, with its depth. Neither the number of workers nor the order of reading changes it.

    Args:
        source: The training's source data set.
        rare_class: The training's rare class sampling, or None.
        depth: How depth is remapped; the transform of the target's pipeline.
        count: Number of entries; None: that of the source's images.
        sampling: ``rcs``: every entry is drawn by class, with repetitions, as in the published
            banks; ``uniform``: one random crop of each source image after the other.
        seed: Of the draws.
        sync_crop_size: (height, width) of a second crop inside the first, if the training has one.

    Raises:
        UserError: The pipeline cannot be used, an option is impossible or depth files are missing.
    """

    def __init__(
        self,
        source: TaxonomyDataset,
        rare_class: RareClassSampling | None,
        depth: LoadRemappedDepth,
        count: int | None = None,
        sampling: str = "rcs",
        seed: int = 0,
        sync_crop_size: Sequence[int] | None = None,
    ) -> None:
        self.meta = bank_meta(source, rare_class, depth, count, sampling, seed, sync_crop_size)
        self.source = source.with_pipeline(_pipeline(source, depth))
        self.rare_class = None if sampling == "uniform" else rare_class.on(self.source)  # type: ignore[union-attr]
        self.count = self.meta.count
        self.seed = seed
        self.sync_crop_size = None if sync_crop_size is None else tuple(sync_crop_size)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> BankCrop:
        with sample_randomness(self.seed, number) as rng:
            if self.rare_class is None:
                drawn = None
                results = self.source[number % len(self.source)]
            else:
                index, drawn = self.rare_class.draw(rng)
                results = self.rare_class.sample(index, drawn)
            fields = {k: results[k] for k in ("img", "gt_seg_map", "gt_depth_map")}
            if self.sync_crop_size is not None:
                box = _inner_box(fields["img"].shape[:2], self.sync_crop_size, rng)
                fields = {key: crop(value, box) for key, value in fields.items()}
        folder = self.source.location.image_folder
        origin = {
            "file": results["img_path"].removeprefix(f"{folder}/"),
            "class": drawn,
            "box": list(map(int, results["crop_box"])),
            "flip": bool(results.get("flip", False)),
        }
        image, label, depth = (np.ascontiguousarray(value) for value in fields.values())
        return BankCrop(image.astype(np.uint8), label, depth.astype(np.uint8), origin)


def bank_meta(
    source: TaxonomyDataset,
    rare_class: RareClassSampling | None,
    depth: LoadRemappedDepth,
    count: int | None = None,
    sampling: str = "rcs",
    seed: int = 0,
    sync_crop_size: Sequence[int] | None = None,
) -> BankMeta:
    """The description of a bank, without any depth file; see :class:`BankDraws`."""
    require_choice("uda.depth.build.sampling", sampling, SAMPLINGS)
    if sampling == "rcs" and rare_class is None:
        raise UserError(
            "The bank is to be drawn by rare class sampling, which the config switches off.",
            fix="Set train_dataloader.dataset.rare_class_sampling, or "
            "uda.depth.build.sampling='uniform'.",
        )
    if count is not None and count < 1:
        raise UserError(f"uda.depth.build.count={count} is not positive.", fix="Published: 24966.")
    crops = [t for t in source.pipeline.transforms if isinstance(t, CropFields)]
    if not crops:
        raise UserError(
            "The source pipeline has no CropFields, so there are no crops to make a bank of.",
            fix="Add dict(type='CropFields', crop_size=..., cat_max_ratio=0.75) after the resize.",
        )
    return BankMeta(
        count=len(source) if count is None else count,
        num_classes=len(source.taxonomy),
        crop_size=tuple(sync_crop_size or crops[0].crop_size),  # type: ignore[arg-type]
        classes=tuple(source.taxonomy.classes),
        remap=depth.remap,
        rate=depth.rate,
        dataset=_describe(source, rare_class if sampling == "rcs" else None),
        sampling=sampling,
        seed=seed,
    )


def draws_of_training(
    data: Dataset, depth: LoadRemappedDepth | None = None, **options: Any
) -> BankDraws:
    """The bank that belongs to a training data set (``DomainPairDataset``).

    Args:
        data: Source with or without rare class sampling.
        depth: How depth is remapped; None: as in the target's pipeline, else as published.
        options: ``count``, ``sampling`` and ``seed`` of :class:`BankDraws`.

    Raises:
        UserError: The data set is of another kind, or see :class:`BankDraws`.
    """
    source, rare_class, depth, sync_crop_size = _parts(data, depth)
    return BankDraws(source, rare_class, depth, sync_crop_size=sync_crop_size, **options)


def meta_of_training(data: Dataset, **options: Any) -> BankMeta | None:
    """What a bank that belongs to a training data set is; None if none can be drawn from it.

    Args: those of :func:`draws_of_training`.
    """
    if not isinstance(getattr(data, "source", None), TaxonomyDataset):
        return None
    source, rare_class, depth, sync_crop_size = _parts(data, None)
    return bank_meta(source, rare_class, depth, sync_crop_size=sync_crop_size, **options)


def _parts(
    data: Any, depth: LoadRemappedDepth | None
) -> tuple[TaxonomyDataset, RareClassSampling | None, LoadRemappedDepth, Sequence[int] | None]:
    source = getattr(data, "source", None)
    if not isinstance(source, TaxonomyDataset):
        raise UserError(
            "A bank of source crops is drawn from a TaxonomyDataset inside a DomainPairDataset; "
            f"the training reads {type(source or data).__name__}.",
            fix="Use mmseg_uda's data sets, or give uda.depth.bank a finished bank.",
        )
    depth = depth or depth_transform(data.target) or LoadRemappedDepth()
    return source, data.rare_class_sampling, depth, data.sync_crop_size


def depth_transform(dataset: Any) -> LoadRemappedDepth | None:
    """The depth loader in a data set's pipeline."""
    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", ())
    return next((t for t in transforms if isinstance(t, LoadRemappedDepth)), None)


def _pipeline(source: TaxonomyDataset, depth: LoadRemappedDepth) -> list:
    """The training's transforms with depth after the resize, and without packing."""
    steps = [
        t for t in source.pipeline.transforms if not isinstance(t, (PackFields, LoadRemappedDepth))
    ]
    sizes = [i for i, t in enumerate(steps) if isinstance(t, ResizeFields)]
    loads = [i for i, t in enumerate(steps) if isinstance(t, CropFields)]
    position = sizes[-1] + 1 if sizes else loads[0]
    return [*steps[:position], depth, *steps[position:]]


def _describe(source: TaxonomyDataset, rare_class: RareClassSampling | None) -> str:
    """Short name of what is drawn from; changes with anything that changes the draws."""
    location = source.location
    labels = hashlib.sha256(source.label_ids.lookup.tobytes()).hexdigest()[:8]
    parts = [location.title, location.img_dir, f"{len(source)} images", f"label map {labels}"]
    parts += [f"{type(t).__name__} {_plain(t)}" for t in source.pipeline.transforms]
    if rare_class is not None:
        frames = hashlib.sha256()
        for class_id, files in sorted(rare_class.files.items()):
            frames.update(f"{class_id} {files.tolist()}".encode())
        parts.append(
            f"rcs {rare_class.min_pixels} {rare_class.min_share} {rare_class.min_crop_ratio} "
            f"{rare_class.class_temp} frames {frames.hexdigest()[:8]}"
        )
    return "; ".join(parts)


def _plain(transform: Any) -> str:
    values = {k: v for k, v in vars(transform).items() if not k.startswith("_")}
    simple = (int, float, str, bool, tuple, type(None))
    return " ".join(f"{k}={v}" for k, v in sorted(values.items()) if isinstance(v, simple))


def _inner_box(
    size: Sequence[int], inner: Sequence[int], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    y0, x0 = (int(rng.integers(max(s - i, 0) + 1)) for s, i in zip(size, inner, strict=True))
    return y0, y0 + inner[0], x0, x0 + inner[1]
