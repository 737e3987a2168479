"""Predicts images of any size, given as arrays or files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from torch import Tensor

from mmseg_uda.engine.deployed import deployed_pipeline
from mmseg_uda.engine.tta import RESIZES, Augmentations, StreamingTTAModel, augmented_pipeline
from mmseg_uda.errors import UserError
from mmseg_uda.labels import read_image

Image = np.ndarray | str | Path
Resize = Literal["config", "none"] | tuple[int, int]

AMP = {None: None, "bf16": torch.bfloat16, "fp16": torch.float16}
# Encoders of stride 32 with spatial reduction need so many pixels at the coarsest scale.
MIN_SIDE = 32


@dataclass(frozen=True)
class Prediction:
    """What a segmentor says about one image of H x W pixels.

    Attributes:
        label: (H, W) uint8 (int64 with more than 256 classes), the trainId of every pixel.
        logits: (C, H, W) float32, if asked for.
        probabilities: (C, H, W) float32, if asked for; they add up to 1 over C.
        lr: (H, W), labels of HRDA's context scale alone, if asked for.
        hr: (H, W), labels of HRDA's detail scale alone, if asked for.
        attention: (H, W) float32 in [0, 1], weight of the detail scale, averaged over the predicted
            class distribution, if asked for.
    """

    label: np.ndarray
    logits: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    lr: np.ndarray | None = None
    hr: np.ndarray | None = None
    attention: np.ndarray | None = None


class Predictor:
    """Prepares images and predicts batches of them.

    Args:
        model: As ``init_segmentor`` or ``mmseg.apis.init_model`` returns.
        resize: ``'config'`` resizes as the config's test pipeline does (the aspect ratio stays),
            ``'none'`` predicts at the image's own resolution, (width, height) is the largest size
            to resize to. Predictions always have the image's own size.
        augmentations: Average over these views (test-time augmentation).
        amp: ``'bf16'``, ``'fp16'`` (CUDA only) or None for float32. Logits stay float32.
        logits: Keep the logits.
        probabilities: Keep the class probabilities.
        hrda_outputs: Keep HRDA's context, detail and attention; takes three passes.

    Raises:
        UserError: The options contradict each other or the model.
    """

    def __init__(
        self,
        model: Any,
        *,
        resize: Resize = "config",
        augmentations: Augmentations | None = None,
        amp: str | None = None,
        logits: bool = False,
        probabilities: bool = False,
        hrda_outputs: bool = False,
    ) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.keeps_logits, self.keeps_probabilities = logits, probabilities
        self.hrda_outputs = hrda_outputs
        if amp not in AMP:
            raise UserError(f"There is no precision {amp!r}.", fix="Use bf16 or fp16.")
        if amp == "fp16" and self.device.type != "cuda":
            raise UserError("fp16 needs a GPU.", fix="Use bf16, or no --amp.")
        self.dtype = AMP[amp]
        if hrda_outputs and not hasattr(model, "output_mode"):
            raise UserError(
                "Context, detail and attention are outputs of HRDA; this network is a "
                f"{type(model).__name__}.",
                fix="Leave --hrda-outputs out.",
            )
        if augmentations is not None and (hrda_outputs or logits):
            raise UserError(
                "Test-time augmentation averages probabilities; it has neither logits nor HRDA's "
                "outputs.",
                fix="Ask for probabilities, or leave --tta out.",
            )
        pipeline = _without_loading(deployed_pipeline(model.cfg))
        pipeline = _resized(pipeline, resize)
        if augmentations is not None:
            pipeline = augmented_pipeline(pipeline, augmentations)
        self.pipeline = Compose(pipeline)
        self.averaging = None if augmentations is None else StreamingTTAModel(model)
        self.min_side = int(MIN_SIDE / min(getattr(model, "scales", (1.0,))))

    def prepare(self, image: np.ndarray, name: str = "") -> dict[str, Any]:
        """Brings an image into the form that the network takes; may run in any thread.

        Args:
            image: uint8, (H, W, 3) BGR.
            name: For messages.
        """
        size = image.shape[:2]
        sample = self.pipeline(
            dict(img=image, img_path=name, img_shape=size, ori_shape=size, seg_fields=[])
        )
        views = zip(*(_listed(sample[key]) for key in ("inputs", "data_samples")), strict=True)
        inputs = [self._padded(tensor, data_sample) for tensor, data_sample in views]
        sample["inputs"] = inputs if isinstance(sample["inputs"], list) else inputs[0]
        return sample

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """Predicts prepared images of one shape (see ``shape_of``) together."""
        data = pseudo_collate(list(samples))
        with torch.inference_mode(), self._autocast():
            if not self.hrda_outputs:
                return [self._result(sample) for sample in self._forward(data)]
            results = []
            parts = [self._pass(data, mode) for mode in ("ATT", "LR", "HR")]
            for fused, lr, hr in zip(*parts, strict=True):
                extra = dict(
                    lr=self._label(lr),
                    hr=self._label(hr),
                    attention=_array(fused.scale_attention.data[0].float()),
                )
                results.append(self._result(fused, **extra))
            return results

    def _forward(self, data: Any) -> list[Any]:
        if self.averaging is not None:
            return self.averaging.test_step(data)
        return self.model.test_step(data)

    def _pass(self, data: Mapping[str, Any], mode: str) -> list[Any]:
        before = self.model.output_mode
        self.model.output_mode = mode
        try:
            # Each pass writes its result into the samples that it is given.
            copies = [sample.clone() for sample in data["data_samples"]]
            return self._forward({**data, "data_samples": copies})
        finally:
            self.model.output_mode = before

    def _result(self, sample: Any, **extra: np.ndarray) -> Prediction:
        if self.keeps_logits:
            extra["logits"] = _array(sample.seg_logits.data)
        if self.keeps_probabilities:
            if self.averaging is None:
                probabilities = sample.seg_logits.data.float().softmax(dim=0)
            else:
                probabilities = sample.seg_probabilities.data
            extra["probabilities"] = _array(probabilities)
        return Prediction(self._label(sample), **extra)

    def _label(self, sample: Any) -> np.ndarray:
        label = sample.pred_sem_seg.data[0]
        return _array(label.to(torch.uint8) if self.model.num_classes <= 256 else label.long())

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        if self.dtype is None:
            yield
            return
        with torch.autocast(self.device.type, dtype=self.dtype):
            yield

    def _padded(self, image: Tensor, sample: Any) -> Tensor:
        """Repeats the last row and column of images that are too small for the encoder."""
        height, width = image.shape[-2:]
        bottom, right = max(self.min_side - height, 0), max(self.min_side - width, 0)
        if not (bottom or right):
            return image
        sample.set_metainfo({"padding_size": [0, right, 0, bottom]})
        array = np.pad(image.numpy(), ((0, 0), (0, bottom), (0, right)), mode="edge")
        return torch.from_numpy(array)


@overload
def predict(model: Any, images: Image, **options: Any) -> Prediction: ...


@overload
def predict(model: Any, images: Sequence[Image], **options: Any) -> list[Prediction]: ...


def predict(
    model: Any,
    images: Image | Sequence[Image],
    *,
    batch_size: int = 1,
    channel_order: Literal["bgr", "rgb"] = "bgr",
    **options: Any,
) -> Prediction | list[Prediction]:
    """Segments images of any size.

    Sliding windows run as batches where the config's ``test_cfg`` has ``mode='slide'``.

    Args:
        model: As ``init_segmentor`` returns.
        images: One image or several, each a file or an array: uint8, (H, W, 3), (H, W, 4) with an
            alpha channel that is dropped, or (H, W) grey.
        batch_size: Neighbours in the list that are equally large pass the network together.
        channel_order: Of arrays; ``'bgr'`` as OpenCV and mmsegmentation read images.
        **options: Those of ``Predictor``: resize, augmentations, amp, logits, probabilities,
            hrda_outputs.

    Returns:
        One prediction for one image, a list for a list, in its order.

    Raises:
        UserError: A file cannot be read, or an array is no image.
    """
    predictor = Predictor(model, **options)
    single = isinstance(images, (np.ndarray, str, Path))
    items: Sequence[Image] = [images] if single else images  # type: ignore[list-item,assignment]
    results: list[Prediction] = []
    batch: list[dict[str, Any]] = []
    for image in items:
        array = load_image(image, channel_order)
        sample = predictor.prepare(array, "" if isinstance(image, np.ndarray) else str(image))
        if batch and (len(batch) == batch_size or shape_of(batch[0]) != shape_of(sample)):
            results += predictor(batch)
            batch = []
        batch.append(sample)
    if batch:
        results += predictor(batch)
    return results[0] if single else results


def load_image(image: Image, channel_order: str = "bgr") -> np.ndarray:
    """Returns an image as uint8, (H, W, 3), BGR; files are turned upright as cameras mark them.

    Raises:
        UserError: The file cannot be read, or the array is no 8-bit image.
    """
    if not isinstance(image, np.ndarray):
        return read_image(str(image))
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] not in (3, 4) or image.size == 0:
        raise UserError(
            f"An array of shape {image.shape} is no image.",
            fix="Give (H, W, 3), (H, W, 4) or (H, W).",
        )
    if image.dtype != np.uint8:
        raise UserError(
            f"An image of {image.dtype} is not supported.", fix="Give 8-bit values in 0..255."
        )
    if channel_order not in ("bgr", "rgb"):
        raise UserError(f"There is no channel order {channel_order!r}.", fix="Use 'bgr' or 'rgb'.")
    image = image[..., :3]
    return np.ascontiguousarray(image[..., ::-1] if channel_order == "rgb" else image)


def shape_of(sample: Mapping[str, Any]) -> tuple:
    """What must be equal for prepared images to be predicted together."""
    inputs, samples = _listed(sample["inputs"]), _listed(sample["data_samples"])
    return tuple(tuple(t.shape) for t in inputs), tuple(samples[0].ori_shape)


def _without_loading(pipeline: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [step for step in pipeline if not step["type"].startswith("Load")]


def _resized(pipeline: list[dict[str, Any]], resize: Resize) -> list[dict[str, Any]]:
    if resize == "config":
        return pipeline
    # At own resolution a step that changes nothing keeps the place where views branch off.
    wanted = (
        dict(type="Resize", scale_factor=1.0, keep_ratio=True)
        if resize == "none"
        else dict(type="ResizeFields", scale=tuple(resize))
    )
    if any(step["type"] in RESIZES for step in pipeline):
        return [wanted if step["type"] in RESIZES else step for step in pipeline]
    return [wanted, *pipeline]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
