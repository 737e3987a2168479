"""Bank crops, read from disk while the step goes on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmseg_uda.engine.records import SourceBatch
from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda.bank import DepthBank

THREADS = 4


@dataclass(frozen=True)
class LoadedCrop:
    """An entry of a bank on the host: image (3, h, w) uint8 RGB, label (h, w) uint8."""

    image: Tensor
    label: Tensor


class CropReader:
    """Reads entries in background threads.

    Args:
        bank: Where from.
        pinned: Put the pixels into pinned memory, from which a GPU copies without waiting.
        background: False reads in the calling thread.
    """

    def __init__(self, bank: DepthBank, pinned: bool, background: bool = True) -> None:
        self.bank = bank
        self.pinned = pinned
        self._pool = (
            ThreadPoolExecutor(THREADS, thread_name_prefix="depth-bank") if background else None
        )

    def request(self, index: int) -> Future[LoadedCrop]:
        """Starts reading; the future's ``result()`` raises a UserError for a damaged file."""
        if self._pool is not None:
            return self._pool.submit(self.read, index)
        done: Future[LoadedCrop] = Future()
        done.set_result(self.read(index))
        return done

    def read(self, index: int) -> LoadedCrop:
        """Reads an entry now."""
        image, label = self.bank.read_crop(index)
        loaded = LoadedCrop(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(label))
        if not self.pinned:
            return loaded
        # Bytes travel, not the normalised floats: a quarter of the traffic.
        return LoadedCrop(loaded.image.contiguous().pin_memory(), loaded.label.pin_memory())


def place(
    source: SourceBatch, crops: dict[int, LoadedCrop], ignore_index: int, where: str
) -> SourceBatch:
    """Replaces images of a batch, with their labels, by crops.

    A crop that is smaller than the batch is padded as the data preprocessor does: the mean colour
    and the ignore index at the right and bottom.

    Args:
        source: The batch; its tensors stay as they are.
        crops: By position in the batch.
        ignore_index: Label of unlabelled pixels, in the crops 255.
        where: Of the bank, for messages.

    Raises:
        UserError: A crop is larger than the batch.
    """
    if not crops:
        return source
    image, label = source.image.clone(), source.label.clone()
    for i, crop in crops.items():
        height, width = crop.label.shape
        if height > image.shape[-2] or width > image.shape[-1]:
            raise UserError(
                f"The crops of the bank in {where} have {width}x{height} pixels, the training's "
                f"{image.shape[-1]}x{image.shape[-2]}.",
                fix="Build the bank with the config that is trained.",
            )
        pixels = crop.image.to(image.device, non_blocking=True).float()
        classes = crop.label.to(label.device, non_blocking=True).long()
        classes = classes.masked_fill(classes == 255, ignore_index)
        image[i].zero_()
        image[i, :, :height, :width] = (
            pixels - source.normalization.mean
        ) / source.normalization.std
        label[i].fill_(ignore_index)
        label[i, :height, :width] = classes
    return replace(source, image=image, label=label)
