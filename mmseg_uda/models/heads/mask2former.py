"""Mask2Former of the transformers library, without compiled operators (SRHA)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.heads.options import multiple_select
from mmseg_uda.models.mask_classification import MaskPredictions, mask2former_library


@MODELS.register_module()
class TorchMask2FormerHead(BaseDecodeHead):
    """Deformable pixel decoder, queries with masked attention, a class and a mask per query.

    The pixel decoder attends over the last three maps and adds finer levels, of the first map alone
    unless ``top_down_levels`` says more.
    mmseg registers a ``Mask2FormerHead`` that needs compiled operators, hence the name.

    Args:
        in_channels: Channels of the four maps, finest first.
        channels: Width of both decoders; a multiple of 32.
        feature_strides: Image pixels per pixel of the maps; the first may be half of the second.
        mask_channels: Channels of the mask embedding.
        num_queries: Queries, thus masks.
        encoder_layers: Layers of the pixel decoder.
        decoder_layers: Layers of the query decoder; one more output is supervised.
        num_heads: Attention heads.
        top_down_levels: Maps that are added to the pixel decoder's result, coarsest first: by
            default those finer than the attended ones, which is the first (Mask2Former); 3 takes
            the first three, as SRHA's released networks do.
        encoder_ffn: Hidden width of the pixel decoder's feed-forward layers.
        decoder_ffn: The same of the query decoder.
        **kwargs: mmseg's decode head options. ``loss_decode`` is a
            :class:`~mmseg_uda.models.mask_classification.MaskClassificationLoss`.

    Raises:
        UserError: The transformers library or scipy is missing.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        feature_strides: Sequence[int] = (4, 8, 16, 16),
        mask_channels: int = 256,
        num_queries: int = 100,
        encoder_layers: int = 6,
        decoder_layers: int = 9,
        num_heads: int = 8,
        top_down_levels: int | None = None,
        encoder_ffn: int = 1024,
        decoder_ffn: int = 2048,
        **kwargs: Any,
    ) -> None:
        library = mask2former_library()
        loss = {"type": "MaskClassificationLoss", **kwargs.pop("loss_decode", {})}
        loss.setdefault("num_classes", kwargs["num_classes"])
        kwargs = {"in_index": [0, 1, 2, 3], **multiple_select(kwargs, "TorchMask2FormerHead")}
        # the queries take the place of mmseg's classifier and its dropout
        super().__init__(
            list(in_channels), channels, dropout_ratio=0, loss_decode=loss, init_cfg=None, **kwargs
        )
        del self.conv_seg
        if top_down_levels is None:
            top_down_levels = int(math.log2(min(feature_strides[-3:]) / feature_strides[0]))
        self._config = library.Mask2FormerConfig(
            num_labels=self.num_classes,
            feature_size=channels,
            hidden_dim=channels,
            mask_feature_size=mask_channels,
            num_queries=num_queries,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers + 1,  # the library counts the first prediction, too
            num_attention_heads=num_heads,
            encoder_feedforward_dim=encoder_ffn,
            dim_feedforward=decoder_ffn,
            dropout=0.0,
            pre_norm=False,
        )
        self.num_queries = num_queries
        self.set_top_down_levels(top_down_levels)
        self.transformer = library.Mask2FormerTransformerModule(channels, self._config)
        self.class_predictor = nn.Linear(channels, self.num_classes + 1)
        initialise_decoders(self.pixel_decoder, self.transformer)

    def set_top_down_levels(self, levels: int) -> None:
        """Replaces the pixel decoder by an uninitialised one with other top-down levels.

        Raises:
            UserError: There are not so many finer maps.
        """
        if not 0 <= levels < len(self.in_channels):
            raise UserError(
                f"decode_head.top_down_levels={levels} is impossible with {len(self.in_channels)} "
                "maps.",
                fix="1 as in Mask2Former, 3 as in SRHA's released networks.",
            )
        # the library derives the number from strides and has no other use for them
        self._config.feature_strides = [2**levels] * len(self.in_channels)
        self._config.common_stride = 1
        library = mask2former_library()
        decoder = library.Mask2FormerPixelDecoder(self._config, list(self.in_channels))
        old: nn.Module | None = getattr(self, "pixel_decoder", None)
        if old is not None:
            parameter = next(old.parameters())
            decoder.to(parameter.device, parameter.dtype).train(old.training)
        self.pixel_decoder: nn.Module = decoder
        self.top_down_levels = levels

    def take_queries(self, queries: nn.Module) -> None:
        """Puts a module in place of the queries' position embedding.

        Args:
            queries: Has a ``weight`` (num_queries, channels).
        """
        self.transformer.queries_embedder = queries

    def predict_masks(self, inputs: Sequence[Tensor]) -> MaskPredictions:
        """Decodes backbone features.

        Args:
            inputs: Maps (B, C_l, H_l, W_l), finest first.

        Returns:
            Class logits (B, Q, K + 1) and mask logits (B, Q, H_1, W_1) before the first and
            after every layer of the query decoder.
        """
        maps = self._transform_inputs(inputs)
        # sampling positions need more than half precision
        with torch.autocast(device_type=maps[0].device.type, enabled=False):
            pixels = self.pixel_decoder([x.float() for x in maps])
        queries = self.transformer(pixels.multi_scale_features, pixels.mask_features)
        return MaskPredictions(
            tuple(
                self.class_predictor(q.transpose(0, 1)) for q in queries.intermediate_hidden_states
            ),
            tuple(queries.masks_queries_logits),
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Scores classes at the resolution of the first map: (B, K, H_1, W_1), of 0 to about 1."""
        return self.predict_masks(inputs).scores()


def initialise_decoders(pixel_decoder: nn.Module, transformer: nn.Module) -> None:
    """Initial values as published; bare modules of the library come without them.

    Xavier in the transformers, zero offsets that fan out per head in deformable attention,
    standard normal level embeddings. Embeddings of queries, the mask network and the classifier
    keep torch's.
    """
    for layer in (*pixel_decoder.encoder.layers, *transformer.decoder.layers):
        for parameter in layer.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
    for layer in transformer.decoder.layers:
        nn.init.zeros_(layer.cross_attn.in_proj_bias)
    for layer in pixel_decoder.encoder.layers:
        _initialise_deformable(layer.self_attn)
    nn.init.normal_(pixel_decoder.level_embed)
    for projection in pixel_decoder.input_projections:
        nn.init.xavier_uniform_(projection[0].weight)
        nn.init.zeros_(projection[0].bias)
    finer = (*pixel_decoder.lateral_convolutions, *pixel_decoder.output_convolutions)
    for conv in (*(block[0] for block in finer), pixel_decoder.mask_projection):
        nn.init.kaiming_uniform_(conv.weight, a=1)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


@torch.no_grad()
def _initialise_deformable(attention: Any) -> None:
    heads, levels, points = attention.n_heads, attention.n_levels, attention.n_points
    angle = torch.arange(heads) * (2 * math.pi / heads)
    direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
    direction = direction / direction.abs().amax(dim=-1, keepdim=True)
    distance = torch.arange(1, points + 1).view(1, 1, points, 1)
    offsets = direction.view(heads, 1, 1, 2) * distance.expand(1, levels, points, 1)
    nn.init.zeros_(attention.sampling_offsets.weight)
    attention.sampling_offsets.bias.copy_(offsets.flatten())
    for linear in (attention.attention_weights, attention.value_proj, attention.output_proj):
        nn.init.zeros_(linear.bias)
    nn.init.zeros_(attention.attention_weights.weight)
