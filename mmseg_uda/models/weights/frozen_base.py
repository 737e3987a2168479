"""Adapters without the frozen encoder that they change: taken apart, and put together again."""

from __future__ import annotations

import copy
import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.adapters import AdaptedLinear
from mmseg_uda.models.backbones.timm_vit import TimmViT
from mmseg_uda.models.weights.pretrained import load_backbone_weights

PREFIX = "backbone."
# First A and B of SoMA, which the frozen weights lack.
STARTS = {"lora_A": "start_A", "lora_B": "start_B"}
_NAME = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*")
ROUNDING = 1e-6


def without_base(
    segmentor: nn.Module, base: str | None, source: str | Path
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Takes a segmentor's weights apart.

    Args:
        segmentor: Filled.
        base: Name or path of the weights from which the training began.
        source: Where the segmentor came from, for messages.

    Returns:
        Every tensor but those of the frozen encoder, by name; with SoMA also the components that
        it took out of the encoder. And ``name`` and ``sha256`` of what is left out.

    Raises:
        UserError: The encoder is not frozen, or its weights are not those of ``base``.
    """
    encoder: Any = segmentor.backbone
    if not isinstance(encoder, TimmViT) or encoder.trainable == "all" or base is None:
        raise UserError(
            f"{source} has no adapters on a frozen encoder that has a name: everything in it was "
            "trained.",
            fix="Publish without --adapters-only.",
        )
    name = _name_of(base)
    original, frozen = _load(encoder, base), _frozen_names(encoder)
    digest = _fingerprint(original, frozen)
    rounded = set(_resized(encoder))
    starts = _take_starts(original)
    rounded |= {f"{start.removeprefix(PREFIX).rpartition('.')[0]}.weight" for start in starts}
    own, theirs = encoder.state_dict(), original.state_dict()
    differing = [one for one in frozen if not torch.equal(own[one], theirs[one])]
    if differing:
        one = differing[0]
        distance = max(float((own[d] - theirs[d]).abs().max()) for d in differing)
        what = f"{len(differing)} frozen tensors of {source} are not those of {base}, such as {one}"
        if not rounded.issuperset(differing) or distance > ROUNDING:
            raise UserError(
                f"{what}.",
                fix="Put the file in its place with which the training began, or publish without "
                "--adapters-only.",
            )
        print_log(
            f"{what}: by {distance:.1e} at most, as this machine rounds resized patches and "
            "SoMA's components otherwise. Predictions of the adapters alone can differ as much.",
            logger="current",
            level=logging.WARNING,
        )
    left_out = {f"{PREFIX}{one}" for one in frozen}
    kept = {k: value for k, value in segmentor.state_dict().items() if k not in left_out}
    return kept | starts, {"name": name, "sha256": digest}


def with_base(
    segmentor: nn.Module,
    weights: Mapping[str, Tensor],
    base: Mapping[str, Any],
    source: str | Path,
) -> dict[str, Tensor]:
    """Completes adapters by the frozen encoder that they were trained on.

    Args:
        segmentor: Network of the weights.
        weights: As :func:`without_base` returns them.
        base: ``name`` and ``sha256`` of the encoder.
        source: Where the adapters came from, for messages.

    Raises:
        UserError: The encoder is missing, or another one has its name.
    """
    name, encoder = base.get("name"), segmentor.backbone
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise UserError(
            f"{source} names no encoder that its adapters belong to: {str(name)[:80]!r}.",
            fix="Publish it again.",
        )
    if not isinstance(encoder, TimmViT):
        raise UserError(
            f"{source} holds adapters alone, for a TimmViT; the config has a "
            f"{type(encoder).__name__}.",
            fix="Use the config beside them.",
        )
    try:
        original = _load(encoder, name)
    except UserError as error:
        raise UserError(
            f"{source} holds adapters alone; their encoder {name} cannot be loaded: "
            f"{error.message}",
            fix=f"Put {name}.pth or {name}.safetensors into pretrained/, the file from which the "
            "training began.",
        ) from error
    frozen = _frozen_names(encoder)
    if _fingerprint(original, frozen) != base.get("sha256"):
        raise UserError(
            f"{source} holds adapters of another encoder than the {name} found here: its weights "
            "have another fingerprint.",
            fix=f"Put the {name} into pretrained/ with which the training began.",
        )
    given = dict(weights)
    layers = {n: m for n, m in original.named_modules() if isinstance(m, AdaptedLinear)}
    for path, layer in layers.items():
        starts = [given.pop(f"{PREFIX}{path}.{start}", None) for start in STARTS.values()]
        _take_out(layer, starts, source)
    state = original.state_dict()
    return {f"{PREFIX}{one}": state[one] for one in frozen} | given


def _load(encoder: TimmViT, name: str) -> TimmViT:
    """A copy of an encoder, on the CPU, with pretrained weights."""
    copied = copy.deepcopy(encoder).to_empty(device="cpu").float()
    load_backbone_weights(copied, name)
    return copied


def _frozen_names(encoder: TimmViT) -> list[str]:
    parameters = encoder.named_parameters()
    return sorted(n for n, p in parameters if not p.requires_grad and not encoder.is_own(n))


def _name_of(base: str) -> str:
    """The name under which others have the weights ``base``: below ``pretrained/``, no place."""
    name = base.removeprefix("pretrained/").removesuffix(".pth").removesuffix(".safetensors")
    name = name if _NAME.fullmatch(name) else Path(name).name
    if _NAME.fullmatch(name) is None:
        raise UserError(
            f"Adapters alone name their encoder, and {name!r} is no name that they can give: it "
            "may have letters and digits, with . + - _ between them.",
            fix="Publish without --adapters-only, and give later trainings a file of another name.",
        )
    return name


def _resized(encoder: TimmViT) -> list[str]:
    """What loading resizes: its last digits are those of the machine."""
    fixed, patches = encoder.pos_embed_mode == "fixed", encoder.resizes_patches
    return ["pos_embed"] * fixed + ["patch_embed.proj.weight"] * patches


def _fingerprint(encoder: TimmViT, names: list[str]) -> str:
    """Of the tensors that are as the file has them."""
    digest, state, resized = hashlib.sha256(), encoder.state_dict(), _resized(encoder)
    for name in names:
        if name in resized:
            continue
        value = state[name].contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.numpy().data)
    return digest.hexdigest()


def _take_starts(encoder: TimmViT) -> dict[str, Tensor]:
    """Lets SoMA take its components out of the loaded weights, and returns them by name."""
    starts = {}
    for path, layer in encoder.named_modules():
        if not isinstance(layer, AdaptedLinear) or not layer.takes_components:
            continue
        with torch.random.fork_rng(devices=[]):
            layer.start()
        for name, start in STARTS.items():
            starts[f"{PREFIX}{path}.{start}"] = getattr(layer, name).detach()
    return starts


@torch.no_grad()
def _take_out(layer: AdaptedLinear, starts: list[Tensor | None], source: str | Path) -> None:
    """Takes SoMA's components out of a layer's loaded weight."""
    if not layer.takes_components:
        return
    for parameter, value in zip((layer.lora_A, layer.lora_B), starts, strict=True):
        if value is None or value.shape != parameter.shape:
            raise UserError(
                f"{source} lacks the components that SoMA took out of the encoder.",
                fix="Publish it again.",
            )
        parameter.copy_(value)
    layer.frozen_weight.sub_(layer.delta)
