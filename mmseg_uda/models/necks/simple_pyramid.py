"""Four levels for decoders that expect them, from the single map of a plain transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.models.norms import ChannelNorm

STYLES = ("vitdet", "eomt", "resize")
FACTORS = (4, 2, 1, 0.5)


class ScaleBlock(nn.Sequential):
    """Twice the resolution by a transposed and a depth-wise convolution (EoMT)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            ChannelNorm(channels),
        )


@MODELS.register_module()
class SimplePyramid(nn.Module):
    """Levels of strides s/4, s/2, s and 2s from a map of stride s; s need be no integer.

    ``vitdet`` (https://arxiv.org/abs/2203.16527): transposed convolutions, and to every level a
    1×1 and a 3×3 convolution with LayerNorm. ``eomt`` (https://arxiv.org/abs/2503.19108): blocks of
    a transposed and a depth-wise convolution at full width. ``resize`` (Rein, SoMA): the outputs of
    four blocks, resized. Halving an odd side rounds up, so every pixel is covered.

    Args:
        in_channels: Channels of the map(s).
        out_channels: Channels of the levels in ``vitdet``, where None means ``in_channels``; the
            other styles keep ``in_channels``.
        style: One of the above.

    Raises:
        UserError: The style is unknown, or has no ``out_channels``.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, style: str = "vitdet"
    ) -> None:
        super().__init__()
        require_choice("neck.style", style, STYLES)
        if style != "vitdet" and out_channels not in (None, in_channels):
            raise UserError(
                f"neck.out_channels={out_channels} has no effect with style={style!r}, which keeps "
                f"{in_channels} channels.",
                fix="Leave it out, or use style='vitdet'.",
            )
        self.style = style
        self.levels = nn.ModuleList()
        if style == "vitdet":
            self._build_vitdet(in_channels, out_channels or in_channels)
        elif style == "eomt":
            self.levels.append(nn.Sequential(ScaleBlock(in_channels), ScaleBlock(in_channels)))
            self.levels.append(nn.Sequential(ScaleBlock(in_channels)))
            self.levels.append(nn.Identity())
            self.levels.append(nn.MaxPool2d(2, ceil_mode=True))

    def _build_vitdet(self, width: int, channels: int) -> None:
        half, quarter = width // 2, width // 4
        finest = [
            nn.ConvTranspose2d(width, half, 2, stride=2),
            ChannelNorm(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, stride=2),
        ]
        scales: tuple[tuple[int, list[nn.Module]], ...] = (
            (quarter, finest),
            (half, [nn.ConvTranspose2d(width, half, 2, stride=2)]),
            (width, []),
            (width, [nn.MaxPool2d(2, ceil_mode=True)]),
        )
        for before, layers in scales:
            self.levels.append(
                nn.Sequential(
                    *layers,
                    nn.Conv2d(before, channels, 1, bias=False),
                    ChannelNorm(channels),
                    nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                    ChannelNorm(channels),
                )
            )

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Makes four maps (B, C, h, w), finest first, of one; with ``resize`` of four.

        Raises:
            UserError: There is another number of maps.
        """
        expected = 4 if self.style == "resize" else 1
        if len(inputs) != expected:
            raise UserError(
                f"the pyramid takes {expected} maps in style={self.style!r}, and the encoder gives "
                f"{len(inputs)}.",
                fix=f"Name {expected} blocks in model.backbone.out_indices.",
            )
        if self.style == "resize":
            return [_resized(x, factor) for x, factor in zip(inputs, FACTORS, strict=True)]
        return [level(inputs[0]) for level in self.levels]


def _resized(x: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
