"""What a training's config and folder say about it, in the words of a model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_uda.apis.method_cards import MethodCard, cards_of
from mmseg_uda.protocol import evaluated_network, evaluation_way, network_name
from mmseg_uda.run_files import read_evaluations
from mmseg_uda.taxonomy import LAYOUTS


@dataclass(frozen=True)
class Facts:
    """A training in words; what its config does not say is ''.

    Attributes:
        method: The trainer and its components.
        host: Type of the trainer.
        network: Decoder and encoder.
        encoder: Name or path of the encoder's initial weights, None if unknown.
        source: Labelled data.
        target: Data that is adapted to.
        evaluated: Data of the validations.
        steps: Planned optimizer steps, None if unknown.
        rows: Further settings, name and value.
        protocol: How validations are made.
        measured: Whose predictions they measure: 'student', 'teacher', ...
        cards: Of the methods and networks.
        drawn: Whether the data are the miniworld's.
    """

    method: str
    host: str
    network: str
    encoder: str | None
    source: str
    target: str
    evaluated: str
    steps: int | None
    rows: dict[str, str]
    protocol: str
    measured: str
    cards: tuple[MethodCard, ...]
    drawn: bool


def facts_of(training: Config, network: Config) -> Facts:
    """Reads a training's config; it is data, from which nothing is built.

    Args:
        training: Of a training, wrapped or not, or of a segmentor alone.
        network: With ``model``, the segmentor that came out of it.
    """
    config = unwrapped(training.to_dict())
    uda, model = _mapping(config.get("uda")), _mapping(config.get("model"))
    data = _mapping(_mapping(config.get("train_dataloader")).get("dataset"))
    data = _mapping(data.get("dataset")) or data
    parts = [_text(part.get("type")) for part in uda.values() if isinstance(part, Mapping)]
    parts = list(filter(None, parts))
    host = _text(uda.get("type"))
    methods = cards_of([host, *parts])
    backbone = _mapping(model.get("backbone"))
    networks = cards_of([_text(model.get("type")), _text(backbone.get("type"))])
    adapter = _text(_mapping(backbone.get("adapter")).get("type"))
    arch, name = _text(backbone.get("arch")), network_name(network.model)
    name += f" ({arch})" * bool(arch) + f", adapted by {adapter}" * bool(adapter)
    loader = _mapping(config.get("val_dataloader") or config.get("test_dataloader"))
    config = {**config, "model": network.model.to_dict(), "val_dataloader": loader}
    steps = _mapping(config.get("train_cfg")).get("max_iters")
    encoder = _mapping(backbone.get("init_cfg")).get("checkpoint") or model.get("pretrained")
    return Facts(
        method=", ".join(card.title for card in methods) or host,
        host=host,
        network=name,
        encoder=encoder if isinstance(encoder, str) else None,
        source=data_name(data.get("source") or data),
        target=data_name(data.get("target")),
        evaluated=data_name(loader.get("dataset")),
        steps=steps if isinstance(steps, int) else None,
        rows=dict(_rows(config, parts)),
        protocol=_protocol(config),
        measured=evaluated_network(config),
        cards=tuple(dict.fromkeys([*methods, *networks])),
        drawn="miniworld" in str([data, loader]),
    )


def unwrapped(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config with segmentor and trainer apart, as its file has them."""
    model = dict(_mapping(config.get("model")))
    segmentor = model.pop("segmentor", None)
    if segmentor is None:
        return dict(config)
    return {**config, "model": segmentor, "uda": model}


def data_name(dataset: Any) -> str:
    """Returns a data set in words: names and splits, no place of this machine; '' for none."""
    dataset = _mapping(dataset)
    while isinstance(dataset.get("dataset"), Mapping):
        dataset = dataset["dataset"]
    if isinstance(dataset.get("targets"), Mapping):
        return ", ".join(filter(None, map(data_name, dataset["targets"].values())))
    kind = _text(dataset.get("type"))
    layout = LAYOUTS.get(kind)
    name = kind if layout is None else layout.title
    if kind == "TaxonomyDataset":
        name = "own data"
    label_map, split = dataset.get("label_map"), dataset.get("split")
    details = [f"split {_text(split)}" if split else ""]
    named = layout is not None and isinstance(label_map, str)
    details.append(f"label map {label_map}" if named else "")
    details.append("unlabelled" if dataset.get("images_only") else "")
    noted = ", ".join(filter(None, details))
    return f"{name} ({noted})" if name and noted else name


def evaluation_at(folder: Path | None, step: int | None) -> dict[str, Any]:
    """Returns the validation of a training at a step; {} where none is recorded.

    Raises:
        UserError: The record is damaged.
    """
    if folder is None or step is None:
        return {}
    return next((one for one in read_evaluations(folder) if one["iter"] == step), {})


def _rows(config: Mapping[str, Any], parts: list[str]) -> Iterator[tuple[str, str]]:
    wrapper = _mapping(config.get("optim_wrapper"))
    optimizer = _mapping(wrapper.get("optimizer"))
    loader = _mapping(config.get("train_dataloader"))
    model = config["model"]
    crop = config.get("crop_size") or _mapping(model.get("data_preprocessor")).get("size")
    values = {
        "components": ", ".join(parts),
        "optimizer": _text(optimizer.get("type")),
        "learning rate": _text(optimizer.get("lr")),
        "weight decay": _text(optimizer.get("weight_decay")),
        "batch size": _text(loader.get("batch_size")),
        "crop": "x".join(map(str, crop)) if isinstance(crop, (list, tuple)) else _text(crop),
        "seed": _text(_mapping(config.get("randomness")).get("seed")),
    }
    yield from ((name, value) for name, value in values.items() if value)


def _protocol(config: Mapping[str, Any]) -> str:
    """'' where the config describes no evaluation."""
    try:
        return evaluation_way(config, "") if config["val_dataloader"] else ""
    except (KeyError, TypeError, AttributeError, IndexError):  # a stranger's config
        return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, (Mapping, list, tuple)) else str(value)
