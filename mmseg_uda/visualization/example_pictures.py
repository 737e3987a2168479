"""The same few validation images of every training, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from PIL import Image

from mmseg_uda.errors import UserError
from mmseg_uda.files import write_json
from mmseg_uda.labels import read_image
from mmseg_uda.visualization.canvas import Classes
from mmseg_uda.visualization.prediction_pictures import save_colored

FOLDER = "examples"
INDEX = "examples.json"


@HOOKS.register_module()
class ExamplePicturesHook(Hook):
    """Writes a few validation images with label and prediction to ``<work_dir>/examples``.

    The images are spread evenly over the validation set, so that all jobs of a table show the
    same ones, and every validation replaces them: what stays is the last. ``examples.json`` lists
    them with the iteration and the taxonomy's names and colours.

    Args:
        count: Number of images; 0 writes none.
        width: Pixels to which wider images are reduced.

    Raises:
        UserError: For an impossible option.
    """

    priority = "LOW"

    def __init__(self, count: int = 4, width: int = 512) -> None:
        if count < 0 or width < 16:
            raise UserError(
                f"default_hooks.examples cannot use count={count}, width={width}.",
                fix="Give count >= 0 and width >= 16 pixels.",
            )
        self.count = count
        self.width = width
        self._chosen: dict[str, int] = {}
        self._written: dict[int, dict[str, Any]] = {}

    def before_val_epoch(self, runner: Any) -> None:
        """Chooses the images, once."""
        self._written = {}
        if self._chosen or not self.count:
            return
        dataset = runner.val_dataloader.dataset
        if not hasattr(dataset, "get_data_info") or not len(dataset):
            return
        count = min(self.count, len(dataset))
        # The middle of each of ``count`` equal parts.
        indices = [(2 * k + 1) * len(dataset) // (2 * count) for k in range(count)]
        paths = [dataset.get_data_info(index).get("img_path") for index in indices]
        self._chosen = {str(path): k for k, path in enumerate(paths) if path is not None}

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Writes what belongs to the chosen images."""
        for position, sample in enumerate(outputs or ()):
            number = self._chosen.get(str(sample.metainfo.get("img_path")))
            if number is not None:
                image = _shown_image(sample, data_batch, position)
                self._written[number] = self._write(runner, sample, number, image)

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Lists them. On several GPUs each process lists its own share."""
        if not self._written:
            return
        classes = self._classes(runner)
        content = {
            "iter": runner.iter,
            "classes": list(classes.names),
            "palette": [list(color) for color in classes.colors],
            "examples": [self._written[k] for k in sorted(self._written)],
        }
        write_json(self._folder(runner) / _index(), content)

    @staticmethod
    def _classes(runner: Any) -> Classes:
        return Classes.of(getattr(runner.val_dataloader.dataset, "metainfo", None))

    def _folder(self, runner: Any) -> Path:
        return Path(runner.work_dir) / FOLDER

    def _write(self, runner: Any, sample: Any, number: int, image: np.ndarray) -> dict[str, Any]:
        name = Path(sample.metainfo["img_path"]).stem
        if "target" in sample.metainfo:
            name = f"{sample.metainfo['target']}: {name}"
        folder = self._folder(runner)
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, Any] = {"name": name, "image": f"{number:02d}_image.jpg"}
        size = self._size(image.shape)
        small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
        Image.fromarray(small).save(folder / files["image"], quality=90)
        for key, field in (("label", "gt_sem_seg"), ("prediction", "pred_sem_seg")):
            if field not in sample:
                files[key] = None
                continue
            files[key] = f"{number:02d}_{key}.png"
            ids = sample.get(field).data.squeeze(0).cpu().numpy().astype(np.uint8)
            ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
            save_colored(ids, full_palette(self._classes(runner).colors), folder / files[key])
        return files

    def _size(self, shape: Sequence[int]) -> tuple[int, int]:
        """Width and height of the written picture."""
        factor = min(1.0, self.width / shape[1])
        return round(shape[1] * factor), round(shape[0] * factor)


def _shown_image(sample: Any, data_batch: Any, position: int) -> np.ndarray:
    """RGB, (h, w, 3): the file, or what the network saw where that is scored in its place."""
    image = read_image(str(sample.metainfo["img_path"]))
    scored = tuple(sample.pred_sem_seg.data.shape[-2:])
    if image.shape[:2] != scored and data_batch is not None:
        seen = data_batch["inputs"][position]
        if tuple(seen.shape[-2:]) == scored:
            image = seen.cpu().numpy().transpose(1, 2, 0)
    return image[..., ::-1]


def full_palette(palette: Sequence[Sequence[int]]) -> list[list[int]]:
    """256 colours: the taxonomy's, then black for unlabelled pixels."""
    colors = [list(map(int, color)) for color in palette]
    return colors + [[0, 0, 0]] * (256 - len(colors))


def _index() -> str:
    """Name of this process' list."""
    rank = get_rank()
    return INDEX if rank == 0 else INDEX.replace(".json", f".{rank}.json")
