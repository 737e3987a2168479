"""Are the weights that configs name there, whole, and those of their networks?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg_uda.config_bases import import_modules
from mmseg_uda.errors import UserError
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.doctor.networks import not_built
from mmseg_uda.findings import Finding, Level, problem

AREA = "weights"
REMOTE = ("http://", "https://", "torchvision://", "open-mmlab://", "modelzoo://")


def check_weights(configs: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Checks pretrained encoders, checkpoints to start from, and foundation models.

    Encoders are compared with the network tensor by tensor; nothing is trained or kept. What is
    missing is fetched by name where that is possible, as a training would do.

    Args:
        configs: Resolved configs. Their modules (``custom_imports``) are imported.
    """
    findings = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for config in configs:
            findings += [
                *_modules(config),
                *_encoder(config),
                *_start(config),
                *_source_model(config),
            ]
        findings += [
            Finding(
                AREA,
                Level.PROBLEM,
                f"{path.dataset}: {path.path} is missing.",
                fix=path.fix,
            )
            for path in preflight.missing_foundation(configs)
        ]
    unique = list({(f.level, f.message): f for f in findings}.values())
    if any(finding.level is Level.PROBLEM for finding in unique) or not configs:
        return unique
    return [*unique, Finding(AREA, Level.OK, "all weights are there and fit.")]


def _modules(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Registers the classes that a config names."""
    from mmengine.registry import init_default_scope

    import mmseg_uda.register_all  # noqa: F401

    init_default_scope("mmseg")
    try:
        import_modules(config, "config")
    except UserError as error:
        yield problem("config", error)


def _encoder(config: Mapping[str, Any]) -> Iterator[Finding]:
    backbone = (config.get("model") or {}).get("backbone") or {}
    init = backbone.get("init_cfg") or {}
    if not isinstance(init, Mapping) or "checkpoint" not in init:
        return
    name = str(init["checkpoint"])
    if init.get("type") != "BackboneWeights":
        if not name.startswith(REMOTE) and not Path(name).is_file():
            yield Finding(
                AREA,
                Level.PROBLEM,
                f"the encoder's weights {name} are missing.",
                fix="Correct model.backbone.init_cfg.checkpoint.",
            )
        return
    import torch
    from mmseg.registry import MODELS

    from mmseg_uda.models.weights import find_weights, load_backbone_weights
    from mmseg_uda.models.weights.pretrained import fetch_weights

    try:
        path = find_weights(name) or fetch_weights(name)
    except UserError as error:
        fix = preflight.suggest(name) + (error.fix or "")
        yield Finding(AREA, Level.PROBLEM, error.message, fix=fix)
        return
    try:
        with torch.device("meta"):  # names and shapes, no memory
            network = MODELS.build({k: v for k, v in backbone.items() if k != "init_cfg"})
    except Exception as error:
        yield not_built("model.backbone", error)
        return
    try:
        load_backbone_weights(network, str(path), bool(init.get("allow_partial", False)))
    except UserError as error:
        yield Finding(AREA, Level.PROBLEM, error.message, fix=error.fix or f"Replace {path}.")
    else:
        licence = getattr(network, "licence", None)
        terms = f" Licence of these weights: {licence}." if licence else ""
        yield Finding(AREA, Level.OK, f"{path} covers the encoder {backbone['type']}.{terms}")


def _start(config: Mapping[str, Any]) -> Iterator[Finding]:
    """``load_from``: the checkpoint that a training starts from."""
    if config.get("load_from") and not str(config["load_from"]).startswith(REMOTE):
        yield from _fits("load_from", config, config["load_from"])


def _source_model(config: Mapping[str, Any]) -> Iterator[Finding]:
    """``source``: the segmentor whose predictions an alignment starts from."""
    source = config.get("source")
    if not config.get("alignment") or not isinstance(source, Mapping) or source.get("run"):
        return
    path, checkpoint = source.get("config"), source.get("checkpoint")
    from mmseg_uda.models.weights import is_published

    for key, file in (("config", path), ("checkpoint", checkpoint)):
        if not file or not (is_published(file) or Path(file).is_file()):
            yield Finding(
                AREA,
                Level.PROBLEM,
                f"the source model's {key} {file} is missing.",
                fix=f"Correct source.{key}, or train the model and give its folder as source.run.",
            )
            return
    from mmseg_uda.engine.config_file import load_network_config

    yield from _fits("source.checkpoint", load_network_config(str(path)), checkpoint)


def _fits(key: str, config: Mapping[str, Any], checkpoint: Any) -> Iterator[Finding]:
    """Whether a checkpoint covers the network of a config."""
    import torch
    from mmengine.config import Config
    from mmseg.registry import MODELS

    from mmseg_uda.engine.deployed import deployed_model
    from mmseg_uda.models.weights import load_segmentor_weights

    try:
        with torch.device("meta"):
            network = MODELS.build(deployed_model(Config(dict(config))))
    except Exception as error:
        yield not_built("model", error)
        return
    try:
        load_segmentor_weights(network, checkpoint, adapt=key != "load_from")
    except UserError as error:
        yield Finding(
            AREA, Level.PROBLEM, f"{key}: {error.message}", fix=error.fix or f"Correct {key}."
        )
    else:
        yield Finding(AREA, Level.OK, f"{checkpoint} fits the network.")
