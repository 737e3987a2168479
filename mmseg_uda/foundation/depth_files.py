"""Depth files for a tree of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from mmseg_uda.errors import UserError, of_many
from mmseg_uda.files import replacing
from mmseg_uda.foundation.depth_anything import DepthAnything, Preparation, quantize
from mmseg_uda.labels import read_image
from mmseg_uda.loader import WatchedLoader
from mmseg_uda.places import require_folder
from mmseg_uda.progress import track
from mmseg_uda.taxonomy import DataLocation

WRITERS = 4


@dataclass(frozen=True)
class _Item:
    """An image on its way: network input (3, h, w) and size (H, W) of the image."""

    name: str
    pixels: torch.Tensor
    size: tuple[int, int]

    @property
    def key(self) -> tuple[tuple[int, ...], tuple[int, int]]:
        """Items of one key go through the network together."""
        return tuple(self.pixels.shape), self.size


class _Images(Dataset):
    def __init__(self, folder: Path, names: Sequence[str], prepare: Preparation) -> None:
        self.folder = folder
        self.names = names
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> _Item | UserError:
        path = str(self.folder / self.names[index])
        try:
            image = read_image(path)
            pixels = torch.from_numpy(self.prepare(image))
        except UserError as error:
            return error
        except Exception as error:  # an image of an impossible shape
            return UserError(f"{path}: {type(error).__name__}: {error}.")
        return _Item(self.names[index], pixels, (image.shape[0], image.shape[1]))


def render_depth(
    location: DataLocation,
    model: DepthAnything,
    batch_size: int = 4,
    workers: int = 4,
    device: str = "cpu",
    bits: int = 8,
    overwrite: bool = False,
) -> int:
    """Writes one depth file per image, at the place and under the name that trainings expect.

    A file holds one channel of relative inverse depth, scaled per image (near = largest). Files
    appear whole or not at all; an interrupted call goes on with those that are missing. Images that
    cannot be read are left out and named at the end.

    Args:
        location: The images.
        model: What estimates.
        batch_size: Images of one size that go through the network together.
        workers: Processes that read.
        device: Where the network runs.
        bits: 8 or 16 per pixel.
        overwrite: Also write files that exist.

    Returns:
        The number of files written.

    Raises:
        UserError: There are no images, some are damaged, or the model cannot be loaded.
    """
    names = location.images()
    files = {name: Path(location.depth_folder, location.depth_name(name)) for name in names}
    pending = [name for name in names if overwrite or not files[name].is_file()]
    if not pending:
        return 0
    require_folder(location.depth_folder)
    loader = WatchedLoader(
        _Images(Path(location.image_folder), pending, model.preparation),
        batch_size=batch_size,
        num_workers=min(workers, len(pending)),
        collate_fn=list,
    )
    title = f"Rendering depth of {location.title}"
    failures: list[UserError] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        results = _predict(loader, model, device, failures)
        writing: list[Future[None]] = []
        for name, depth in track(results, title, len(pending)):
            writing.append(pool.submit(_write, files[name], depth, bits))
            while len(writing) > 4 * WRITERS:  # maps wait in memory
                writing.pop(0).result()
        for future in writing:
            future.result()
    if failures:
        done = len(pending) - len(failures)
        raise of_many(
            failures, len(pending), "images have got no depth", f", the other {done} have"
        )
    return len(pending)


def _predict(
    loader: WatchedLoader, model: DepthAnything, device: str, failures: list[UserError]
) -> Iterator[tuple[str, np.ndarray]]:
    for batch in loader:
        failures += [item for item in batch if isinstance(item, UserError)]
        items = [item for item in batch if isinstance(item, _Item)]
        for _, group in groupby(sorted(items, key=lambda i: i.key), key=lambda i: i.key):
            same = list(group)
            inputs = torch.stack([item.pixels for item in same])
            maps = model.predict(inputs, same[0].size, device).cpu().numpy()
            yield from zip((item.name for item in same), maps, strict=True)


def _write(path: Path, depth: np.ndarray, bits: int) -> None:
    data = cv2.imencode(".png", quantize(depth, bits))[1].tobytes()
    with replacing(path) as temporary:
        temporary.write_bytes(data)
