"""The part of a training config that is deployed: the segmentor and its test pipeline."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import meta_of

CONFIG_IN_META = "cfg"


def deployed_model(cfg: Config) -> ConfigDict:
    """Returns the config of the plain segmentor, without its initial weights.

    Args:
        cfg: Config of a training, wrapped or not (see ``wrap_model``), or of a segmentor. It is
            not changed.

    Raises:
        UserError: The config has no ``model``.
    """
    model = cfg.get("model")
    if not isinstance(model, Mapping):
        raise UserError("The config has no model.", fix="Give a config with the key 'model'.")
    model = ConfigDict(copy.deepcopy(dict(model.get("segmentor") or model)))
    # The checkpoint brings every weight.
    model.pop("pretrained", None)
    if "backbone" in model:
        model.backbone.pop("init_cfg", None)
    if cfg.get("data_preprocessor") is not None:
        model.setdefault("data_preprocessor", copy.deepcopy(cfg.data_preprocessor))
    return model


def deployed_pipeline(cfg: Config) -> list[dict[str, Any]]:
    """Returns the transforms that an image passes in testing: ``test_dataloader``'s.

    Of several targets the first one's: their networks see images as they are, or resized to what
    that target's benchmark prescribes.

    Raises:
        UserError: The config has neither a ``test_dataloader`` nor a ``test_pipeline``.
    """
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    while "pipeline" not in dataset and ("dataset" in dataset or dataset.get("targets")):
        dataset = dataset.get("dataset") or next(iter(dataset["targets"].values()))
    pipeline = dataset.get("pipeline") or cfg.get("test_pipeline")
    if not pipeline:
        raise UserError(
            "The config does not say how images are prepared.",
            fix="Set test_dataloader.dataset.pipeline or test_pipeline.",
        )
    return [copy.deepcopy(dict(transform)) for transform in pipeline]


def deployed_config(cfg: Config) -> Config:
    """Returns a config that stands alone and holds what inference needs, nothing else.

    ``mmseg.apis.init_model`` and ``inference_model`` take it; no path of the training's machine
    is left in it.
    """
    imports = cfg.get("custom_imports") or dict(imports=["mmseg_uda.register_all"])
    return Config(
        dict(
            custom_imports=copy.deepcopy(dict(imports)),
            default_scope="mmseg",
            model=deployed_model(cfg).to_dict(),
            test_pipeline=deployed_pipeline(cfg),
        )
    )


def stored_config(
    checkpoint: Mapping[str, Any], source: str | Path = "the checkpoint"
) -> Config | None:
    """Reads the config that a checkpoint carries as text; None where it carries none.

    The text is parsed, never executed: a checkpoint may come from anywhere. What it says may still
    name anything: what is to be built comes from
    :func:`~mmseg_uda.engine.data_config.carried_config`.

    Args:
        checkpoint: As ``read_checkpoint`` returns.
        source: Where it came from, for messages.

    Raises:
        UserError: The text is more than assignments of plain values.
    """
    text = meta_of(checkpoint).get(CONFIG_IN_META)
    if not isinstance(text, str):
        return None
    try:
        tree = ast.parse(text)
        values = {}
        for statement in tree.body:
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                raise ValueError(f"line {statement.lineno} is no assignment")
            (target,) = statement.targets
            if not isinstance(target, ast.Name):
                raise ValueError(f"line {statement.lineno} assigns to no name")
            values[target.id] = _literal(statement.value)
        return Config(values)
    # Reserved names are a KeyError; deep nesting exhausts the parser's stack or memory.
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise UserError(
            f"The config text in {source} cannot be read: {error or 'nested too deeply'}.",
            fix="Give the config file.",
        ) from error


def _literal(node: ast.expr) -> Any:
    """Value of a literal in which ``dict(key=value)`` is allowed, as mmengine writes configs."""
    if isinstance(node, ast.Call):
        # dict({'a.b': 1}) is how keys that are no names are written inside a list.
        literals = all(isinstance(argument, ast.Dict) for argument in node.args)
        if not (isinstance(node.func, ast.Name) and node.func.id == "dict" and literals):
            raise ValueError(f"line {node.lineno} calls a function")
        if any(keyword.arg is None for keyword in node.keywords) or len(node.args) > 1:
            raise ValueError(f"line {node.lineno} unpacks a dict")
        named = {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
        return {**(_literal(node.args[0]) if node.args else {}), **named}
    if isinstance(node, ast.Dict):
        if any(key is None for key in node.keys):
            raise ValueError(f"line {node.lineno} unpacks a dict")
        pairs = zip(node.keys, node.values, strict=True)
        return {ast.literal_eval(key): _literal(value) for key, value in pairs if key is not None}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)
