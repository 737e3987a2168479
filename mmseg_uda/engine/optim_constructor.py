"""Optimizer groups by reference parameter names, as few as possible."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mmseg_uda.engine.options import Options, read_group
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import reference_parameter_names

MULTIPLIERS = ("lr_mult", "decay_mult")
ENCODER = "backbone."
# By kind, as in mmengine: a norm in an nn.Sequential has a number for its name.
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class LayerDecay(Options):
    """Rates that fall from an encoder's last block to its first."""

    KEY = "optim_wrapper.paramwise_cfg.layer_decay"

    multiplier: float = 1.0
    """Factor of the whole encoder (VFM-UDA: 0.1)."""
    decay: float = 1.0
    """Factor from each block to the one before (VFM-UDA++: 0.9)."""

    def check(self) -> None:
        """Raises a ``UserError`` for negative factors."""
        for name in self.names():
            self.require(name, getattr(self, name) >= 0, "a factor of at least 0")

    def rate(self, above: int) -> float:
        """Factor on the rate of a layer with ``above`` blocks after it."""
        return self.multiplier * self.decay**above


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ReferenceNameConstructor:
    """Builds the student's optimizer with the reference's learning rates and decays.

    ``paramwise_cfg.custom_keys`` maps a part of a parameter's name to ``lr_mult`` and
    ``decay_mult``. Names are those of the published checkpoints (``backbone.norm1.weight``),
    not of the implementation, whose stage norms, for one, have no ``norm`` in theirs. A name
    takes the rule of the longest key that it contains, of equally long ones the
    alphabetically first, as in mmengine. Optimized are the deployed segmentor's parameters and
    what components train (``components.<role>.…``); equal settings share one group, which lets
    the optimizer fuse its kernels. On a GPU torch's fused implementation is taken unless
    ``optimizer.fused`` or ``foreach`` is set.

    ``paramwise_cfg.layer_decay``, ``dict(multiplier=m, decay=d)``, gives block i of an encoder with
    n blocks the rate m · d^(n - 1 - i), and m · d^n to what is in no block: embeddings, tokens and
    the last norm (VFM-UDA: m 0.1, d 1; VFM-UDA++: d 0.9). A custom key that fits takes precedence.

    Args:
        optim_wrapper_cfg: ``type``, ``optimizer`` and the wrapper's options.
        paramwise_cfg: ``custom_keys`` and ``layer_decay`` as above, or None.

    Raises:
        UserError: For an unknown option.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop("optimizer"))
        paramwise = dict(paramwise_cfg or {})
        self.custom_keys: dict[str, dict] = dict(paramwise.pop("custom_keys", {}))
        decay = paramwise.pop("layer_decay", None)
        self.layer_decay = None if decay is None else read_group(LayerDecay, decay)
        self.norm_decay: float = paramwise.pop("norm_decay_mult", 1.0)
        if paramwise:
            raise UserError(
                f"optim_wrapper.paramwise_cfg has unknown keys: {', '.join(sorted(paramwise))}.",
                fix="Use custom_keys={part_of_name: dict(lr_mult=…, decay_mult=…)}, "
                "layer_decay=dict(multiplier=…, decay=…) and norm_decay_mult=….",
            )
        for name, rule in self.custom_keys.items():
            unknown = sorted(set(rule) - set(MULTIPLIERS))
            if unknown:
                raise UserError(
                    f"optim_wrapper.paramwise_cfg.custom_keys[{name!r}] has no {unknown[0]!r}.",
                    fix=f"Use {' and '.join(MULTIPLIERS)}.",
                )
        self._keys = sorted(sorted(self.custom_keys), key=len, reverse=True)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the wrapper for a trainer (or a bare segmentor)."""
        module = model.module if is_model_wrapper(model) else model
        segmentor = getattr(module, "model", module)
        groups = parameter_groups(
            segmentor,
            lr=self.optimizer_cfg["lr"],
            weight_decay=self.optimizer_cfg.get("weight_decay", 0.0),
            rule=partial(self._rule, segmentor),
            beside=getattr(module, "components", None),
        )
        chosen = {**kernels(groups, self.optimizer_cfg), **self.optimizer_cfg}
        optimizer = OPTIMIZERS.build({**chosen, "params": groups})
        wrapper = {"type": "StepOptimWrapper", **self.wrapper_cfg}
        return OPTIM_WRAPPERS.build({**wrapper, "optimizer": optimizer})

    def _rule(self, segmentor: nn.Module, name: str, of_norm: bool) -> tuple[float, float]:
        for key in self._keys:
            if key in name:
                rule = self.custom_keys[key]
                return rule.get("lr_mult", 1.0), rule.get("decay_mult", 1.0)
        decay = self.norm_decay if of_norm else 1.0
        if self.layer_decay is not None and name.startswith(ENCODER):
            above = _blocks_above(segmentor, name.removeprefix(ENCODER))
            return self.layer_decay.rate(above), decay
        return 1.0, decay


def kernels(groups: Iterable[Mapping[str, Any]], optimizer_cfg: Mapping[str, Any]) -> dict:
    """``fused=True`` on a GPU where the optimizer has it and the config leaves it open.

    Fused kernels update everything in a few launches, and they alone can be told on the
    device to leave the parameters as they are (a gradient that is not finite).
    """
    devices = {p.device.type for group in groups for p in group["params"]}
    kind = OPTIMIZERS.get(optimizer_cfg["type"])
    known = set() if kind is None else set(inspect.signature(kind).parameters)
    decided = {"fused", "foreach", "capturable", "differentiable"} & optimizer_cfg.keys()
    return {"fused": True} if devices == {"cuda"} and "fused" in known - decided else {}


def _blocks_above(segmentor: Any, name: str) -> int:
    """Blocks of the encoder that come after a parameter of it.

    Raises:
        UserError: The encoder is not one row of blocks.
    """
    depth = getattr(segmentor.backbone, "depth", None)
    if depth is None or not hasattr(segmentor.backbone, "blocks"):
        raise UserError(
            f"optim_wrapper.paramwise_cfg.layer_decay: {type(segmentor.backbone).__name__} is not "
            "one row of blocks.",
            fix="Leave it out, or use a TimmViT.",
        )
    block = re.match(r"blocks\.(\d+)\.", name)
    return depth if block is None else depth - 1 - int(block[1])


def parameter_groups(
    segmentor: nn.Module, lr: float, weight_decay: float, rule, beside: nn.Module | None = None
) -> list[dict]:
    """Trainable parameters grouped by their learning rate and weight decay.

    Args:
        segmentor: Network to optimize.
        lr: Base learning rate.
        weight_decay: Base weight decay.
        rule: Reference name, and whether a norm layer holds it → (lr multiplier, decay multiplier).
        beside: Further modules with trained parameters: the components.

    Returns:
        Groups (``params``, ``lr``, ``weight_decay``) in order of first appearance.
    """
    reference = reference_parameter_names(segmentor)
    groups: dict[tuple[float, float], dict] = {}
    further = [] if beside is None else beside.named_parameters(prefix="components")
    layers = [*segmentor.modules(), *([] if beside is None else beside.modules())]
    of_norms = {id(p) for layer in layers if isinstance(layer, NORMS) for p in layer.parameters()}
    for name, parameter in (*segmentor.named_parameters(), *further):
        if not parameter.requires_grad:
            continue
        lr_mult, decay_mult = rule(reference.get(name, name), id(parameter) in of_norms)
        key = (lr * lr_mult, weight_decay * decay_mult)
        group = groups.setdefault(key, {"params": [], "lr": key[0], "weight_decay": key[1]})
        group["params"].append(parameter)
    return list(groups.values())
