"""Can the networks that configs name be built, and do decoders fit encoders and trainers?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmseg_uda.cfg_options import config_mistake
from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level, problem

AREA = "config"
SIDE = 512  # of an image, where a config does not say


def check_networks(configs: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Builds every network without memory and sends an image of no content through it.

    Args:
        configs: Resolved configs, whose modules (``custom_imports``) are imported.
    """
    findings: list[Finding] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for config in configs:
            model = config.get("model")
            if isinstance(model, Mapping) and "type" in model:
                findings += _network(config)
    return list({finding.message: finding for finding in findings}.values())


def not_built(key: str, error: Exception) -> Finding:
    """What is wrong with a part of a config that cannot be built."""
    told = error if isinstance(error, UserError) else config_mistake(error)
    if told is not None:
        return problem(AREA, told)
    text = str(error).strip().splitlines()
    return Finding(
        AREA,
        Level.PROBLEM,
        f"{key} cannot be built: {type(error).__name__}: {text[0] if text else ''}",
        fix=f"Correct {key}, or name the module of its classes in custom_imports.",
    )


def _network(config: Mapping[str, Any]) -> Iterator[Finding]:
    import torch
    from mmengine.config import Config
    from mmseg.registry import MODELS

    from mmseg_uda.engine.deployed import deployed_model
    from mmseg_uda.models.head_outputs import check_class_scores, check_pixel_weights
    from mmseg_uda.models.views import training_forward

    try:
        with torch.device("meta"):
            network = MODELS.build(deployed_model(Config(dict(config))))
    except Exception as error:  # of any library
        yield not_built("model", error)
        return
    if not hasattr(network, "decode_head"):
        return
    trainer = MODELS.get(str((config.get("uda") or {}).get("type")))
    adapts = getattr(trainer, "needs_target", False) and not config["uda"].get("source_only")
    try:
        if adapts:
            check_class_scores(network, config["uda"]["type"])
            check_pixel_weights(network)
        size = (config.get("model") or {}).get("data_preprocessor", {}).get("size")
        shape = tuple(size or config.get("crop_size") or (SIDE, SIDE))
        network.to("meta").train()
        with torch.no_grad():
            training_forward(network, torch.empty(2, 3, *shape, device="meta"), lambda *_: (0, 0))
    except UserError as error:
        yield problem(AREA, error)
    except Exception:
        return  # a layer that reads values, which such images have not
