"""Does a bank belong to a training?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset

from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda.bank import BUILD, DepthBank
from mmseg_uda.methods.cdda.drawing import depth_transform, meta_of_training
from mmseg_uda.self_training.component import Host


def check_bank(
    bank: DepthBank,
    host: Host,
    data: Dataset | None,
    build: Mapping[str, Any] | None,
    needs_crops: bool,
    needs_exact_depth: bool,
) -> None:
    """Raises if a bank does not fit the training.

    Args:
        bank: The bank.
        host: Its classes and crop size count.
        data: The training's data set, for the depth of its target; None if unknown.
        build: Options with which the bank would be built; a ``count`` must be the bank's.
        needs_crops: Whether images and labels are needed beside the histograms.
        needs_exact_depth: Whether fractional depths must be told from whole ones.

    Raises:
        UserError: Tells everything that does not fit.
    """
    meta = bank.meta
    problems = []
    names = () if host.taxonomy is None else tuple(host.taxonomy.classes)
    if meta.num_classes != host.num_classes:
        problems.append(f"it has {meta.num_classes} classes, the segmentor {host.num_classes}")
    elif meta.classes and names and meta.classes != names:
        different = next(i for i in range(len(names)) if names[i] != meta.classes[i])
        problems.append(
            f"its class {different} is {meta.classes[different]}, that of uda.taxonomy "
            f"{names[different]}"
        )
    size = getattr(host.model.data_preprocessor, "size", None)
    if size is not None and any(meta.crop_size) and tuple(size) != tuple(meta.crop_size):
        problems.append(
            f"its crops have {_pixels(meta.crop_size)} pixels, those of the training "
            f"{_pixels(size)}"
        )
    count = (build or {}).get("count")
    if count is not None and count != meta.count:
        problems.append(f"it has {meta.count} entries, uda.depth.build.count is {count}")
    problems += _drawn_otherwise(bank, data, build)
    depth = depth_transform(getattr(data, "target", None))
    if depth is not None and meta.remap and (depth.remap, depth.rate) != (meta.remap, meta.rate):
        problems.append(
            f"its depth was remapped by {meta.remap} ({meta.rate}), that of the target is by "
            f"{depth.remap} ({depth.rate})"
        )
    missing = bank.missing_crops() if needs_crops else []
    if missing:
        problems.append(f"{len(missing)} of its files are missing, the first is {missing[0]}")
    if problems:
        raise UserError(
            f"The bank in {bank.path} does not fit the training: {'; '.join(problems)}.",
            fix=f"Build one with this config: {BUILD.format(path=bank.path)} --force"
            + (" (uda.depth.build=None takes a bank of other draws as it is)" if build else ""),
        )
    if needs_exact_depth and depth is not None and depth.dtype != "float32":
        raise UserError(
            "uda.depth.guidance_trigger='last' tells fractional depths from whole ones, which "
            f"LoadRemappedDepth(dtype={depth.dtype!r}) truncates.",
            fix="Set its dtype to 'float32', or guidance_trigger='any'.",
        )


def _drawn_otherwise(
    bank: DepthBank, data: Dataset | None, build: Mapping[str, Any] | None
) -> list[str]:
    """What of the source data and the draws differs from what the config says."""
    found = bank.meta
    if build is None or data is None or not found.dataset or not found.sampling:
        return []
    options = {k: v for k, v in build.items() if k in ("sampling", "seed")}
    wanted = meta_of_training(data, **options)
    if wanted is None:
        return []
    problems = [
        f"its {name} is {getattr(found, name)}, uda.depth.build says {getattr(wanted, name)}"
        for name in ("sampling", "seed")
        if getattr(found, name) != getattr(wanted, name)
    ]
    ours, theirs = (set(meta.dataset.split("; ")) for meta in (wanted, found))
    if ours != theirs:
        problems.append(
            f"it was drawn from other data or otherwise ({', '.join(sorted(theirs - ours))} "
            f"instead of {', '.join(sorted(ours - theirs))})"
        )
    return problems


def _pixels(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"
