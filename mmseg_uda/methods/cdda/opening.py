"""From options to the objects of a training: bank, search, class ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmseg_uda.engine.processes import from_main_process
from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda.bank import META, PUBLISHED, DepthBank
from mmseg_uda.methods.cdda.bank_builder import build_bank
from mmseg_uda.methods.cdda.drawing import draws_of_training
from mmseg_uda.methods.cdda.histogram import BINS, coarsened
from mmseg_uda.methods.cdda.pruned_search import PrunedSearch
from mmseg_uda.methods.cdda.search import BankSearch, ResidentSearch
from mmseg_uda.self_training.component import Host

SEARCH_DEVICES = ("auto", "cuda", "cpu", "mmap")
BUILD_OPTIONS = ("count", "sampling", "seed", "workers")
# A bank may take this share of a GPU's memory before ``auto`` leaves it on the host.
GPU_SHARE = 0.1


def bank_exists(path: Path) -> bool:
    """Whether there is a bank, complete or not, of either format."""
    return path.suffix == ".pth" or (path / META).is_file() or any(path.glob(PUBLISHED))


def open_bank(path: Path, build: Mapping[str, Any] | None, data: Dataset | None) -> DepthBank:
    """Opens a bank; builds it first if there is none.

    Args:
        path: Folder or ``.pth`` file.
        build: See ``DepthSimilarity``; None: do not build.
        data: The training's data set; None: do not build.

    Raises:
        UserError: There is no bank, it cannot be built, or it is damaged.
    """
    if build is not None and data is not None:
        from_main_process(lambda: _build_missing(path, build, data))
    return DepthBank.open(path)


def _build_missing(path: Path, build: Mapping[str, Any], data: Dataset) -> None:
    if bank_exists(path):
        return
    options = dict(build)
    workers = options.pop("workers", 4)
    print_log(f"Building the bank of source crops in {path}, once for all trainings.", "current")
    build_bank(draws_of_training(data, **options), path, workers, strict=False)


def make_search(
    bank: DepthBank, where: str, device: torch.device, min_class_pixels: int, bins: int = BINS
) -> BankSearch:
    """The search of a bank.

    Args:
        bank: The bank.
        where: ``auto``, ``cuda``, ``cpu`` or ``mmap``; see ``DepthSimilarity``.
        device: Where the labels are.
        min_class_pixels: See ``image_similarity``.
        bins: Depth bins, a divisor of 256.

    Raises:
        UserError: The GPU is asked for, but the training does not run on one.
    """
    if where == "auto":
        fits = (
            device.type == "cuda"
            and bank.counts.nbytes * bins // BINS
            < GPU_SHARE * torch.cuda.get_device_properties(device).total_memory
        )
        where = "cuda" if fits else "cpu"
    if where == "mmap" and bins == BINS:
        return PrunedSearch(bank.counts, min_class_pixels)
    if where == "cuda" and device.type != "cuda":
        raise UserError(
            "uda.depth.search_device='cuda', but the training does not run on a GPU.",
            fix="Set it to 'auto'.",
        )
    counts = coarsened(torch.from_numpy(bank.counts), bins)
    return ResidentSearch(counts.to(device) if where == "cuda" else counts, min_class_pixels)


def class_ids(values: Sequence[str | int], host: Host) -> list[int]:
    """Ids of classes given by name or id.

    Raises:
        UserError: For an unknown class, or a name without a taxonomy.
    """
    ids = []
    for value in values:
        if isinstance(value, str):
            if host.taxonomy is None:
                raise UserError(
                    "uda.depth.skip_classes has names, but the config has no taxonomy.",
                    fix="Set uda.taxonomy, or give class ids.",
                )
            value = host.taxonomy.class_id(value)
        if not 0 <= value < host.num_classes:
            raise UserError(
                f"uda.depth.skip_classes names class {value}, but there are {host.num_classes}.",
                fix="Give ids or names of classes.",
            )
        ids.append(value)
    return ids
