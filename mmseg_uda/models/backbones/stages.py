"""ResNet, MobileNetV2 and ShuffleNetV2 as a stem and four stages, of torchvision's blocks.

SRHA works between the stem and the first stage, so the networks are cut there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import Bottleneck, conv1x1
from torchvision.models.shufflenetv2 import ShuffleNetV2
from torchvision.ops import Conv2dNormActivation

from mmseg_uda.errors import UserError, require_choice

STAGES = 5


@dataclass(frozen=True)
class Cut:
    """A network in five parts.

    Attributes:
        parts: Stem and stages 1–4.
        sources: Per part, the torchvision name of each of its children.
        channels: Of the parts' outputs.
        strides: Image pixels per output pixel, of the parts.
    """

    parts: tuple[nn.Sequential, ...]
    sources: tuple[tuple[str, ...], ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]


def scaled(count: int, factor: float, unit: int = 1) -> int:
    """``count · factor`` as a positive multiple of ``unit``."""
    return max(unit, round(count * factor / unit) * unit)


def _dilate(module: nn.Module, dilation: int) -> None:
    """Convolutions of stride 2 keep the resolution; those larger than 1×1 look further instead."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
            conv.stride = (1, 1)
            if conv.kernel_size != (1, 1):
                conv.dilation = conv.padding = (dilation, dilation)


def _check_stride(output_stride: int, known: Sequence[int], arch: str) -> None:
    if output_stride not in known:
        raise UserError(
            f"backbone.output_stride={output_stride} does not exist for {arch}.",
            fix=f"Use {' or '.join(map(str, known))}.",
        )


def _resnet(
    arch: str, blocks: Sequence[int], output_stride: int, width: float, depth: float
) -> Cut:
    _check_stride(output_stride, (8, 16, 32), arch)
    channels = scaled(64, width, 8)
    stem = nn.Sequential(
        nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    parts, widths, strides = [stem], [channels], [4]
    dilation = 1
    for index, count in enumerate(blocks):
        planes = scaled(64, width, 8) * 2**index
        stride = 2 if index and strides[-1] < output_stride else 1
        if index and stride == 1:
            dilation *= 2  # of every block of the stage, the first one too
        shortcut = nn.Sequential(
            conv1x1(channels, planes * Bottleneck.expansion, stride),
            nn.BatchNorm2d(planes * Bottleneck.expansion),
        )
        stage = [Bottleneck(channels, planes, stride, shortcut, dilation=dilation)]
        channels = planes * Bottleneck.expansion
        for _ in range(1, scaled(count, depth)):
            stage.append(Bottleneck(channels, planes, dilation=dilation))
        parts.append(nn.Sequential(*stage))
        widths.append(channels)
        strides.append(strides[-1] * stride)
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.Conv2d):  # as torchvision's ResNet
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    sources: list[tuple[str, ...]] = [("conv1", "bn1", "relu", "maxpool")]
    sources += [
        tuple(f"layer{i}.{k}" for k in range(len(part))) for i, part in enumerate(parts[1:], 1)
    ]
    return Cut(tuple(parts), tuple(sources), tuple(widths), tuple(strides))


def _mobilenet(arch: str, output_stride: int, width: float, depth: float) -> Cut:
    _check_stride(output_stride, (16, 32), arch)
    # expansion, channels, blocks, stride: Table 2 of arXiv 1801.04381
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    table += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    rows = [[t, c, scaled(n, depth), s] for t, c, n, s in table]
    network = MobileNetV2(width_mult=width, inverted_residual_setting=rows)
    # rows per part: the stem takes the first convolution and row 0
    ends, total = [], 1
    for row in rows:
        total += row[2]
        ends.append(total)
    bounds = [0, ends[0], ends[2], ends[3], ends[6], ends[6] + 1]
    features = list(network.features)
    if width < 1:  # torchvision keeps the last convolution at full width
        last = features[-1][0]
        features[-1] = Conv2dNormActivation(
            last.in_channels, scaled(1280, width, 8), kernel_size=1, activation_layer=nn.ReLU6
        )
    parts = [
        nn.Sequential(*features[start:end])
        for start, end in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    strides = (2, 8, 16, 32, 32)
    if output_stride == 16:
        _dilate(parts[3], 2)
        strides = (2, 8, 16, 16, 16)
    sources = tuple(
        tuple(f"features.{i}" for i in range(start, end))
        for start, end in zip(bounds[:-1], bounds[1:], strict=True)
    )
    channels = tuple(part[-1].out_channels for part in parts)
    return Cut(tuple(parts), sources, channels, strides)


def _shufflenet(arch: str, output_stride: int, width: float, depth: float) -> Cut:
    _check_stride(output_stride, (16, 32), arch)
    channels = [scaled(24, width, 4), *(scaled(c, width, 4) for c in (116, 232, 464, 1024))]
    network = ShuffleNetV2([scaled(n, depth) for n in (4, 8, 4)], channels)
    parts = (
        nn.Sequential(network.conv1, network.maxpool),
        network.stage2,
        network.stage3,
        network.stage4,
        network.conv5,
    )
    strides = (4, 8, 16, 32, 32)
    if output_stride == 16:
        _dilate(parts[3], 2)
        strides = (4, 8, 16, 16, 16)
    sources: list[tuple[str, ...]] = [("conv1", "maxpool")]
    sources += [
        tuple(f"{name}.{k}" for k in range(len(part)))
        for name, part in zip(("stage2", "stage3", "stage4", "conv5"), parts[1:], strict=True)
    ]
    return Cut(parts, tuple(sources), tuple(channels), strides)


_BUILDERS: dict[str, Callable[[str, int, float, float], Cut]] = {
    "resnet50": lambda arch, *options: _resnet(arch, (3, 4, 6, 3), *options),
    "resnet101": lambda arch, *options: _resnet(arch, (3, 4, 23, 3), *options),
    "mobilenet_v2": _mobilenet,
    "shufflenet_v2_x1_0": _shufflenet,
}
ARCHITECTURES = tuple(_BUILDERS)


def build_stages(arch: str, output_stride: int, width: float, depth: float) -> Cut:
    """Builds a network in five parts, with torchvision's initial values.

    Args:
        arch: One of ``ARCHITECTURES``.
        output_stride: 16 or 32, for ResNets also 8.
        width: Factor on the channels.
        depth: Factor on the blocks per stage, at least one each.

    Raises:
        UserError: The architecture or the stride is unknown.
    """
    require_choice("backbone.arch", arch, ARCHITECTURES)
    return _BUILDERS[arch](arch, output_stride, width, depth)
