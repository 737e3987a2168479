"""Encoders that can be entered between the stem and the first stage, for SRHA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.backbones.stages import STAGES, build_stages

PARTS = ("stem", *(f"layer{i}" for i in range(1, STAGES)))


def instance_standardize(x: Tensor, eps: float = 1e-7, unbiased: bool = True) -> Tensor:
    """Standardises each channel of each image: ``(x − mean) / (std + eps)`` (SRHA).

    Args:
        x: (B, C, H, W), any type; statistics are at least float32, also inside autocast.
        eps: Added to the standard deviation.
        unbiased: Divide squares by H·W − 1 instead of H·W.

    Returns:
        (B, C, H, W) in the type of ``x`` (of integers float32); 0 where a channel is constant.

    Raises:
        ValueError: ``unbiased`` with a single position, whose deviation is undefined.
    """
    if unbiased and x.shape[-2] * x.shape[-1] < 2:
        raise ValueError(f"the deviation of maps of {x.shape[-2]}x{x.shape[-1]} is undefined")
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    std, mean = torch.std_mean(values, (2, 3), correction=int(unbiased), keepdim=True)
    result = (values - mean) / (std + eps)
    return result.to(x.dtype) if x.is_floating_point() else result


class InstanceStandardize(nn.Module):
    """:func:`instance_standardize` as a layer without parameters.

    Args:
        eps: Added to the standard deviation.
        unbiased: Divide squares by H·W − 1 instead of H·W.
    """

    def __init__(self, eps: float = 1e-7, unbiased: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.unbiased = unbiased

    def extra_repr(self) -> str:
        """Options for ``print(model)``."""
        return f"eps={self.eps}, unbiased={self.unbiased}"

    def forward(self, x: Tensor) -> Tensor:
        """Standardises (B, C, H, W)."""
        return instance_standardize(x, self.eps, self.unbiased)


@MODELS.register_module()
class StagedBackbone(BaseModule):
    """A torchvision network as a stem (``layer0``) and four stages (SRHA).

    Without ``init_cfg`` the weights are torchvision's random initialisation. BatchNorm is plain;
    the run's ``sync_bn=True`` converts it.

    Args:
        arch: ``resnet50``, ``resnet101``, ``mobilenet_v2`` or ``shufflenet_v2_x1_0``.
        output_stride: Image pixels per pixel of the last stage: 16 (ResNet: layer4 dilated;
            light networks: the stride-2 convolutions of layer3), 32, for ResNets also 8.
        frozen_stages: Some of ``stem``, ``layer1`` … ``layer4``: no gradients, and BatchNorm
            with its running statistics.
        standardize: Standardise the stem's output per image and channel, in inference too.
        width: Factor on the channels, for tests and the miniworld. 1 is the published network.
        depth: Factor on the blocks per stage, likewise.
        init_cfg: e.g. ``dict(type='BackboneWeights', checkpoint='resnet50_imagenet1k_v1')`` or
            the path of a file in torchvision's layout.

    Attributes:
        feature_channels: Channels of stages 1–4.
        feature_strides: Image pixels per pixel of stages 1–4.
        stem_channels: Channels of the stem.
        stem_stride: Image pixels per pixel of the stem.
        standardize: The standardisation, or an identity.

    Raises:
        UserError: An option is unknown.
    """

    def __init__(
        self,
        arch: str,
        output_stride: int = 16,
        frozen_stages: Sequence[str] = ("stem",),
        standardize: bool = True,
        width: float = 1.0,
        depth: float = 1.0,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        unknown = [name for name in frozen_stages if name not in PARTS]
        if unknown:
            raise UserError(
                f"backbone.frozen_stages holds {unknown[0]!r}.",
                fix=f"Use some of {', '.join(PARTS)}.",
            )
        self.arch = arch
        self.frozen_stages = tuple(frozen_stages)
        cut = build_stages(arch, output_stride, width, depth)
        self._sources = cut.sources
        self.stem_channels, *channels = cut.channels
        self.stem_stride, *strides = cut.strides
        self.feature_channels, self.feature_strides = tuple(channels), tuple(strides)
        self.standardize = InstanceStandardize() if standardize else nn.Identity()
        self.layer0, self.layer1, self.layer2, self.layer3, self.layer4 = cut.parts
        for stage in self._frozen():
            stage.requires_grad_(False)

    @property
    def stem(self) -> nn.Sequential:
        """The part before the first stage."""
        return self.layer0

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """Stages 1–4."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward_stem(self, x: Tensor) -> Tensor:
        """Encodes images (B, 3, H, W) to (B, stem_channels, H/stem_stride, W/stem_stride)."""
        # through the module's call, which may be compiled
        return self(x, part="stem")

    def forward_stages(self, h: Tensor, outs: Sequence[int] = (1, 2, 3, 4)) -> list[Tensor]:
        """Runs the stages on the (standardised) output of the stem.

        Args:
            h: (B, stem_channels, h, w).
            outs: Numbers of the stages whose maps are wanted, ascending; later ones do not run.

        Returns:
            Maps (B, C_l, H_l, W_l) of those stages.
        """
        return self(h, part="stages", outs=tuple(outs))

    def forward(
        self, x: Tensor, part: str = "all", outs: Sequence[int] = (1, 2, 3, 4)
    ) -> list[Tensor] | Tensor:
        """Encodes images (B, 3, H, W) into the maps (B, C_l, H_l, W_l) of stages 1–4.

        Args:
            x: The images; with ``part='stages'`` the standardised output of the stem.
            part: ``all``, ``stem`` (which returns one map) or ``stages``.
            outs: Numbers of the stages whose maps are wanted.
        """
        if part != "stages":
            x = self.layer0(x)
            if part == "stem":
                return x
            x = self.standardize(x)
        maps = []
        for number, stage in enumerate(self.stages[: max(outs)], 1):
            x = stage(x)
            if number in outs:
                maps.append(x)
        return maps

    def train(self, mode: bool = True) -> StagedBackbone:
        """Switches the mode; frozen stages stay in eval mode."""
        super().train(mode)
        for stage in self._frozen():
            stage.eval()
        return self

    def _frozen(self) -> list[nn.Sequential]:
        parts = dict(zip(PARTS, (self.layer0, *self.stages), strict=True))
        return [parts[name] for name in self.frozen_stages]

    def from_torchvision_names(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Renames a torchvision state dict of this network to ours.

        Args:
            state_dict: Weights; names that torchvision's network does not have are kept.
        """
        return {self.from_torchvision_name(name): value for name, value in state_dict.items()}

    def from_torchvision_name(self, name: str) -> str:
        """Our name of one of torchvision's parameters; others are kept."""
        ours = {
            source: f"layer{stage}.{index}"
            for stage, names in enumerate(self._sources)
            for index, source in enumerate(names)
        }
        longest_first = sorted(ours, key=len, reverse=True)
        source = next((s for s in longest_first if name.startswith(f"{s}.")), None)
        return name if source is None else ours[source] + name[len(source) :]

    def to_torchvision_names(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Renames our state dict to torchvision's names; see :meth:`from_torchvision_names`."""
        result = {}
        for name, value in state_dict.items():
            stage, index, rest = name.removeprefix("layer").split(".", 2)
            result[f"{self._sources[int(stage)][int(index)]}.{rest}"] = value
        return result
