"""Whole configs of mmsegmentation 0.x, as they lie beside released checkpoints, for inference.

DAFormer, HRDA, MIC and what builds on them release a JSON dump or a Python file with ``model``,
``data`` and everything about their training. The network and the test data are translated; the
training is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_uda.cfg_options import nearest
from mmseg_uda.config_files import runtime_config
from mmseg_uda.errors import UserError
from mmseg_uda.models.reference_config import from_reference_config
from mmseg_uda.taxonomy import LAYOUTS

_DATASETS = {name.lower(): name for name in ("GTA", "SYNTHIA", "Cityscapes", "ACDC", "DarkZurich")}
_DATASETS["bdd100k"] = "BDD100K"
# Their labels are trainIds of Cityscapes beside the published ids.
_CONVERTED = {"mapillary": (".jpg", "_labelTrainIds.png")}
_DATA_KEYS = (
    *("type", "data_root", "img_dir", "ann_dir", "split", "img_suffix", "seg_map_suffix"),
    *("pipeline", "test_mode", "ignore_index", "reduce_zero_label", "classes", "palette"),
    *("crop_pseudo_margins", "gt_seg_map_loader_cfg", "file_client_args"),
)
_LOADING = ("LoadImageFromFile", "LoadAnnotations")
_PACKING = ("ImageToTensor", "DefaultFormatBundle", "Collect")
_NEW_CONFIG = "Give the config of this project that builds the same network."


def from_released_config(cfg: Mapping[str, Any], source: str | Path) -> Config:
    """Translates what inference and evaluation need; see the module.

    Args:
        cfg: Content of the config.
        source: Its file, for messages.

    Raises:
        UserError: A key or a type has no counterpart; the message names it and the file.
    """
    try:
        return Config(_translated(cfg))
    except UserError as error:
        raise UserError(f"{source}: {error.message}", fix=error.fix) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{source} is no config of mmsegmentation 0.x that could be understood: "
            f"{type(error).__name__}: {error}",
            fix=_NEW_CONFIG,
        ) from error


def _translated(cfg: Mapping[str, Any]) -> dict[str, Any]:
    model = from_reference_config(cfg["model"])
    result = {**runtime_config(), "default_scope": "mmseg", "model": model}
    data = cfg.get("data") or {}
    part = next((name for name in ("test", "val") if data.get(name)), None)
    steps = data[part].get("pipeline") if part else cfg.get("test_pipeline")
    train = data.get("train")
    crop = cfg.get("crop_size")
    if isinstance(train, Mapping) and train.get("sync_crop_size"):
        crop = train["sync_crop_size"]
    if crop is not None:
        result["crop_size"] = tuple(crop)
    if not steps:
        return result
    where = f"data.{part}.pipeline" if part else "test_pipeline"
    pipeline, normalize = _pipeline(steps, where)
    normalize = normalize or cfg.get("img_norm_cfg")
    if not normalize or not {"mean", "std"} <= normalize.keys():
        raise UserError(f"{where} does not normalise images.", fix=_NEW_CONFIG)
    model.setdefault("data_preprocessor", _preprocessor(normalize, crop))
    result["test_pipeline"] = pipeline
    if part:
        result |= _test_data(_dataset(data[part], f"data.{part}"), pipeline, data)
    return result


def _preprocessor(normalize: Mapping[str, Any], crop: Sequence[int] | None) -> dict[str, Any]:
    return {
        "type": "DomainDataPreProcessor",
        "mean": list(normalize["mean"]),
        "std": list(normalize["std"]),
        "bgr_to_rgb": bool(normalize.get("to_rgb", True)),
        "pad_val": 0,
        "seg_pad_val": 255,
        "size": None if crop is None else tuple(crop),
    }


def _test_data(
    dataset: dict[str, Any], pipeline: list[dict[str, Any]], data: Mapping[str, Any]
) -> dict[str, Any]:
    loader = {
        "batch_size": 1,
        "num_workers": data.get("workers_per_gpu", 2),
        "persistent_workers": bool(data.get("workers_per_gpu", 2)),
        "sampler": {"type": "DefaultSampler", "shuffle": False, "round_up": False},
        "dataset": {**dataset, "test_mode": True, "pipeline": pipeline},
    }
    evaluator: dict[str, Any] = {"type": "StreamingIoU"}
    if dataset.get("images_only"):
        evaluator |= {"format_only": True, "output_dir": None}
    return {
        "test_dataloader": loader,
        "test_evaluator": evaluator,
        "test_cfg": {"type": "TestLoop"},
    }


def _dataset(cfg: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A data set of ours with the same images and labels."""
    kind = str(cfg.get("type"))
    name = kind.removesuffix("Dataset").lower()
    for key in cfg:
        if key not in _DATA_KEYS:
            raise UserError(
                f"{where}.{key} of the released config has no counterpart here.",
                fix=f"{nearest(key, _DATA_KEYS, where)}{_NEW_CONFIG}",
            )
    if cfg.get("reduce_zero_label"):
        raise UserError(f"{where}.reduce_zero_label is not offered.", fix=_NEW_CONFIG)
    if cfg.get("ignore_index", 255) != 255:
        raise UserError(
            f"{where}.ignore_index={cfg['ignore_index']} is not offered.", fix=_NEW_CONFIG
        )
    if name == "custom" and cfg.get("classes") is not None:
        raise UserError(
            f"{where}.classes: own classes are named in a taxonomy file here.",
            fix="Give a config of this project with test_dataloader.dataset.taxonomy; see "
            "docs/own_data.md.",
        )
    if name not in (*_DATASETS, *_CONVERTED, "custom"):
        raise UserError(
            f"{where}.type={kind!r} of the released config is not known here.",
            fix=f"Known: {', '.join((*_DATASETS.values(), 'Mapillary', 'Custom'))} with 'Dataset' "
            f"behind. {_NEW_CONFIG}",
        )
    result: dict[str, Any] = {"type": _DATASETS.get(name, "TaxonomyDataset")}
    if cfg.get("data_root"):
        result["data_root"] = str(cfg["data_root"]).rstrip("/") or "/"
    folders = {"img_dir": cfg.get("img_dir"), "label_dir": cfg.get("ann_dir")}
    split = _split_of(result["type"], folders)
    if split is not None:
        result["split"] = split
    else:
        result |= {key: value for key, value in folders.items() if value is not None}
    images, labels = _CONVERTED.get(name, (".jpg", ".png") if name == "custom" else (None, None))
    suffixes = {
        "img_suffix": cfg.get("img_suffix", images),
        "label_suffix": cfg.get("seg_map_suffix", labels),
        "file_list": cfg.get("split"),
        "crop_pseudo_margins": cfg.get("crop_pseudo_margins"),
    }
    result |= {key: value for key, value in suffixes.items() if value is not None}
    if folders["label_dir"] is None or result.get("split") == "test":
        result["images_only"] = True
    return result


def _split_of(kind: str, folders: Mapping[str, Any]) -> str | None:
    """The split of a published layout that lies in these folders."""
    if kind not in LAYOUTS:
        return None
    image, label = (str(folder).strip("/") for folder in folders.values())
    for split, (images, labels) in LAYOUTS[kind].splits.items():
        if image == images and (labels is None or label == labels):
            return split
    return None


def _pipeline(
    steps: Sequence[Mapping[str, Any]], where: str
) -> tuple[list[dict[str, Any]], Mapping[str, Any] | None]:
    """A test pipeline of ours, and the normalisation that lay in theirs."""
    resize: dict[str, Any] | None = None
    normalize: Mapping[str, Any] | None = None
    for place, step in _flat(steps, where):
        kind = step.get("type")
        if kind == "Normalize":
            normalize = step
        elif kind == "Resize":
            resize = _resize(step, place)
        elif kind not in (*_LOADING, *_PACKING):
            raise UserError(f"{place}: {kind} in testing is not offered.", fix=_NEW_CONFIG)
    load, label, pack = ({"type": name} for name in ("LoadFrame", "LoadTrainIds", "PackFields"))
    return [load, *([resize] if resize else []), label, pack], normalize


def _flat(steps: Sequence[Mapping[str, Any]], where: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The steps with their places; ``MultiScaleFlipAug`` hands its size to the ``Resize`` in it."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for index, step in enumerate(steps):
        place = f"{where}[{index}]"
        if step.get("type") != "MultiScaleFlipAug":
            found.append((place, step))
            continue
        if step.get("flip") or step.get("img_ratios") not in (None, 1, [1], (1,)):
            raise UserError(
                f"{place} averages over views of an image.",
                fix="Set flip to False and img_ratios to None in a copy, and use --tta.",
            )
        for inner, one in enumerate(step["transforms"]):
            if one["type"] == "Resize":
                if step.get("img_scale") is None:  # the image's own size
                    continue
                one = {**one, "img_scale": step["img_scale"]}
            if one["type"] != "RandomFlip":  # it mirrors what the outer step says
                found.append((f"{place}.transforms[{inner}]", one))
    return found


def _resize(step: Mapping[str, Any], place: str) -> dict[str, Any]:
    sizes = _listed(step.get("img_scale"))
    sizes = sizes if sizes and isinstance(sizes[0], (list, tuple)) else [sizes]
    if len(sizes) != 1 or len(sizes[0]) != 2 or not all(isinstance(n, int) for n in sizes[0]):
        raise UserError(
            f"{place}: img_scale={step.get('img_scale')!r} is no size.", fix=_NEW_CONFIG
        )
    if step.get("ratio_range") or step.get("multiscale_mode", "range") not in ("range", "value"):
        raise UserError(f"{place}: random sizes in testing are not offered.", fix=_NEW_CONFIG)
    resize: dict[str, Any] = {"type": "ResizeFields", "scale": tuple(sizes[0])}
    if not step.get("keep_ratio", True):
        resize["keep_ratio"] = False
    return resize


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
