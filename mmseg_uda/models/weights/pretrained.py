"""Pretrained encoders, found by name and loaded completely or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.hub import pretrained_roots
from mmseg_uda.models.backbones.staged import StagedBackbone
from mmseg_uda.models.backbones.timm_vit import TimmViT
from mmseg_uda.models.weights.files import (
    coverage_problems,
    describe_problems,
    read_file,
    state_dict_of,
)
from mmseg_uda.models.weights.finite import require_finite
from mmseg_uda.models.weights.reference_names import from_reference_names
from mmseg_uda.models.weights.vit_names import vit_weights
from mmseg_uda.system_errors import refused_here

HUB_REPOSITORIES = {f"mit_b{i}": f"nvidia/mit-b{i}" for i in range(6)}
# timm's own repositories: architecture and tag of the weights
TIMM_NAME = re.compile(r"[a-z]\w*\.[a-z]\w*")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
DOWNLOADS = {
    # open-mmlab's conversions of ImageNet ResNets with a deep stem
    "resnet50_v1c": "https://download.openmmlab.com/pretrain/third_party/resnet50_v1c-2cccc1ad.pth",
    "resnet101_v1c": (
        "https://download.openmmlab.com/pretrain/third_party/resnet101_v1c-e67eebb6.pth"
    ),
    **{
        name: f"https://download.openmmlab.com/pretrain/third_party/{file}.pth"
        for name, file in (
            ("resnext50_32x4d", "resnext50-32x4d-0ab1a123"),
            ("resnext101_32x4d", "resnext101_32x4d-a5af3160"),
            ("resnest50", "resnest50_d2-7497a55b"),
            ("resnest101", "resnest101_d2-f3b931b2"),
            ("resnest200", "resnest200_d2-ca88e41f"),
        )
    },
    # torchvision's first weights, not the later ones of another recipe
    "resnet50_imagenet1k_v1": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "resnet101_imagenet1k_v1": "https://download.pytorch.org/models/resnet101-63fe2227.pth",
    "mobilenet_v2_imagenet1k_v1": "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
    "shufflenet_v2_x1_0_imagenet1k_v1": (
        "https://download.pytorch.org/models/shufflenetv2_x1-5666bf0f80.pth"
    ),
    # DINOv2 (Apache-2.0), as released
    **{
        f"dinov2_vit{size}14{kind}_pretrain": (
            f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{size}14/"
            f"dinov2_vit{size}14{kind}_pretrain.pth"
        )
        for size in "sbl"
        for kind in ("", "_reg4")
    },
}
# further names under which the same weights were published
_OLDER_FILES = {
    "resnet50_imagenet1k_v1": "resnet50-19c8e357",
    "resnet101_imagenet1k_v1": "resnet101-5d3b4d8f",
}
_CLASSIFIERS = ("head.", "fc.", "classifier.", "decode_head.")

# Hugging Face ↔ published names; one pattern per generation of the transformers library
_HUB_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"patch_embeddings\.(\d)\.(proj|layer_norm)", "patch_embed{0}.{1}"),
        (r"block\.(\d)\.(\d+)\.(.+)", "block{0}.{1}.{2}"),
        (r"layer_norm\.(\d)", "norm{0}"),
        (r"stages\.(\d)\.patch_embeddings\.(proj|layer_norm)", "patch_embed{0}.{1}"),
        (r"stages\.(\d)\.blocks\.(\d+)\.(.+)", "block{0}.{1}.{2}"),
        (r"stages\.(\d)\.layer_norm", "norm{0}"),
    )
)
_HUB_LAYERS = {
    "layer_norm": "norm",
    "layer_norm_1": "norm1",
    "layer_norm_2": "norm2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.self.query": "attn.q",
    "attention.self.key": "attn.k",
    "attention.self.value": "attn.v",
    "attention.self.sr": "attn.sr",
    "attention.self.layer_norm": "attn.norm",
    "attention.output.dense": "attn.proj",
    "attention.q_proj": "attn.q",
    "attention.k_proj": "attn.k",
    "attention.v_proj": "attn.v",
    "attention.o_proj": "attn.proj",
    "attention.sequence_reduction.sequence_reduction": "attn.sr",
    "attention.sequence_reduction.layer_norm": "attn.norm",
    "mlp.dense1": "mlp.fc1",
    "mlp.dense2": "mlp.fc2",
}


def from_hub_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames a SegFormer encoder of the transformers library to its published names.

    Args:
        state_dict: Weights of a ``Segformer…`` model, from old or new library versions. Other
            names pass through.
    """
    result: dict[str, Tensor] = {}
    keys: dict[str, dict[str, Tensor]] = {}
    for name, value in state_dict.items():
        inner, _, kind = name.removeprefix("segformer.").removeprefix("encoder.").rpartition(".")
        published = _hub_name(inner)
        if published is None:
            result[name] = value
        elif published.endswith((".attn.k", ".attn.v")):
            keys.setdefault(f"{published[:-1]}kv.{kind}", {})[published[-1]] = value
        else:
            result[f"{published}.{kind}"] = value
    for name, parts in keys.items():
        if len(parts) == 2:
            result[name] = torch.cat([parts["k"], parts["v"]])
    return result


def _hub_name(name: str) -> str | None:
    for pattern, published in _HUB_PATTERNS:
        match = pattern.fullmatch(name)
        if match:
            stage, *rest = match.groups()
            rest = [_HUB_LAYERS.get(part, part) for part in rest]
            return published.format(int(stage) + 1, *rest)
    return None


def find_weights(name: str) -> Path | None:
    """Finds weights by path, or by name in the pretrained folders; ``None`` if absent.

    A file that was downloaded by hand may keep its published name.
    """
    if Path(name).is_file():
        return Path(name)
    stem = name.removeprefix("pretrained/").removesuffix(".pth")
    stems = [stem, Path(DOWNLOADS.get(stem, stem)).stem, _OLDER_FILES.get(stem, stem)]
    for root in pretrained_roots():
        for candidate in dict.fromkeys(stems):
            for suffix in (".pth", ".safetensors"):
                path = root / f"{candidate}{suffix}"
                if path.is_file():
                    return path
    return None


def expected_file(name: str) -> Path:
    """Where weights that are not there should be: at their path, or by name in ``pretrained/``."""
    path = Path(name)
    in_folder = len(path.parts) > 1 and path.parts[0] != "pretrained"
    if path.is_absolute() or (in_folder and path.suffix in (".pth", ".safetensors")):
        return path
    stem = name.removeprefix("pretrained/").removesuffix(".pth")
    return pretrained_roots()[0] / f"{stem}.pth"


def fetch_weights(name: str) -> Path:
    """Downloads weights that have a public home.

    Raises:
        UserError: The name is unknown or the network does not answer.
    """
    repository, url = HUB_REPOSITORIES.get(name), DOWNLOADS.get(name)
    target = expected_file(name)
    if repository is None and TIMM_NAME.fullmatch(name):
        repository, target = f"timm/{name}", target.with_name(f"{name}.safetensors")
    try:
        if repository is not None:
            return _fetch_from_hub(repository)
        if url is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            print_log(f"downloading {url} to {target}", logger="current")
            torch.hub.download_url_to_file(url, str(target), progress=True)
            return target
    except Exception as error:
        refused = refused_here(error)
        if refused is not None:
            raise refused from error
        home = f"https://huggingface.co/{repository}" if repository else url
        raise UserError(
            f"pretrained weights {name!r} are neither in {target} nor could they be downloaded "
            f"({type(error).__name__}).",
            fix=f"Download {home} and save it as {target}; see pretrained/README.md.",
        ) from error
    raise UserError(
        f"pretrained weights {name!r} not found; expected {target}.",
        fix="Put the file there or correct backbone.init_cfg.checkpoint; see pretrained/README.md.",
    )


def _fetch_from_hub(repository: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    for file in HUB_FILES[:-1]:
        try:
            return Path(hf_hub_download(repository, file, etag_timeout=10))
        except EntryNotFoundError:
            continue
    return Path(hf_hub_download(repository, HUB_FILES[-1], etag_timeout=10))


def load_backbone_weights(
    backbone: nn.Module, checkpoint: str, allow_partial: bool = False
) -> Path:
    """Fills an encoder from a file found by path or name.

    Reads the layouts of SegFormer, DINOv2 and DINOv3, mmseg, transformers, timm and torchvision;
    classifiers in the file are ignored.

    Args:
        backbone: The encoder.
        checkpoint: Path, or a name such as ``mit_b5`` or ``resnet101_v1c``.
        allow_partial: Accept missing and surplus tensors; shapes must fit all the same.

    Returns:
        The file that was read.

    Raises:
        UserError: The file is missing, unreadable or does not fit.
    """
    path = find_weights(checkpoint) or fetch_weights(checkpoint)
    weights = state_dict_of(read_file(path), str(path))
    if any(name.startswith("backbone.") for name in weights):
        weights = {
            name.removeprefix("backbone."): value
            for name, value in weights.items()
            if name.startswith("backbone.")
        }
    weights = {name: value for name, value in weights.items() if not name.startswith(_CLASSIFIERS)}
    if isinstance(backbone, StagedBackbone):
        weights = backbone.from_torchvision_names(weights)
    elif isinstance(backbone, TimmViT):
        weights = _vit_weights(backbone, weights, path)
    else:
        weights = from_reference_names(backbone, from_hub_names(weights))
    expected = backbone.state_dict()
    needed = expected
    if isinstance(backbone, TimmViT):  # its adapters, and a mask token that timm's files lack
        own = [name for name in expected if backbone.is_own(name) and name not in weights]
        needed = {name: value for name, value in expected.items() if name not in own}
    problems = coverage_problems(needed, weights)
    fatal = {"shape": problems["shape"]} if allow_partial else problems
    if any(fatal.values()):
        raise UserError(
            f"{path} does not fit the encoder {type(backbone).__name__}:\n  "
            f"{describe_problems(fatal)}",
            fix="Choose the weights of this variant, or set init_cfg.allow_partial=True.",
        )
    require_finite({n: value for n, value in weights.items() if n in expected}, path)
    backbone.load_state_dict({name: weights.get(name, value) for name, value in expected.items()})
    return path


def _vit_weights(backbone: TimmViT, weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    result = vit_weights(backbone, weights, str(path))
    if not any("mask_token" in name for name in weights):
        print_log(f"{path} has no mask token; it starts as zeros", logger="current")
    return result


@WEIGHT_INITIALIZERS.register_module()
class BackboneWeights:
    """Initialise an encoder with pretrained weights; the ``init_cfg`` of our backbones.

    Args:
        checkpoint: Path or name, see :func:`load_backbone_weights`.
        allow_partial: Accept missing and surplus tensors.
    """

    def __init__(self, checkpoint: str, allow_partial: bool = False) -> None:
        self.checkpoint = checkpoint
        self.allow_partial = allow_partial

    def __call__(self, module: nn.Module) -> None:
        """Fills ``module``."""
        path = load_backbone_weights(module, self.checkpoint, self.allow_partial)
        for child in module.children():
            # mmengine initialises children after this; convolution blocks would start anew
            child.is_init = True  # type: ignore[assignment]
        print_log(f"encoder initialised from {path}", logger="current")
