"""Rein: tokens that refine the features between the blocks of a frozen encoder.

Wei et al., https://arxiv.org/abs/2312.04265; written from the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmseg_uda.errors import UserError


@dataclass(frozen=True)
class ReinOptions:
    """Options of ``backbone.adapter`` with ``type='rein'``."""

    type: str = "rein"
    """``rein``."""
    tokens: int = 100
    """Tokens per block."""
    rank: int | None = 16
    """Tokens of a block are a product of this rank; None stores them as they are."""
    scale: float = 1e-3
    """First value of the trained factor on the change."""
    link_queries: bool | None = None
    """Whether the tokens become Mask2Former's queries, one each. None: where the decoder has
    queries, as published; decoders of pixels have none."""

    def __post_init__(self) -> None:
        if self.tokens < 2 or (self.rank is not None and self.rank < 1):
            raise UserError(
                f"backbone.adapter: {self.tokens} tokens of rank {self.rank} are not possible.",
                fix="Use tokens=100 and rank=16, as published.",
            )


class Rein(nn.Module):
    """Changes the features behind each block by what they have in common with its tokens.

    With tokens T of a block and features f: P = softmax(f·Tᵀ/√D); Δ = P·MLP_t(T) without the first
    token, which only takes probability away; f + scale·MLP_f(f + Δ). Both linear layers and the
    scale are shared by all blocks. :meth:`link` adds what makes queries of the tokens.

    Args:
        depth: Number of blocks.
        width: Channels D.
        patch: Patch of the encoder in pixels, for the first values.
        options: Number and rank of the tokens.
    """

    def __init__(self, depth: int, width: int, patch: int, options: ReinOptions) -> None:
        super().__init__()
        self.width, self.patch, self.options = width, patch, options
        count, rank = options.tokens, options.rank
        if rank is None:
            self.learnable_tokens = nn.Parameter(torch.empty(depth, count, width))
        else:
            self.learnable_tokens_a = nn.Parameter(torch.empty(depth, count, rank))
            self.learnable_tokens_b = nn.Parameter(torch.empty(depth, rank, width))
        self.scale = nn.Parameter(torch.tensor(options.scale))
        self.mlp_token2feat = nn.Linear(width, width)
        self.mlp_delta_f = nn.Linear(width, width)
        self.rank = rank
        self.transform: nn.Linear | None = None  # of link
        self.merge: nn.Linear | None = None
        self.start()

    @torch.no_grad()
    def start(self) -> None:
        """Draws the first values."""
        bound = math.sqrt(6 / (3 * self.patch**2 + math.sqrt(self.width * (self.rank or 1))))
        for name, parameter in self.named_parameters():
            if name.startswith("learnable_tokens"):
                nn.init.uniform_(parameter, -bound, bound)
        for layer in (self.mlp_token2feat, self.mlp_delta_f):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))

    def tokens(self) -> Tensor:
        """(blocks, tokens, D)."""
        if self.rank is None:
            return self.learnable_tokens
        return self.learnable_tokens_a @ self.learnable_tokens_b

    def link(self, width: int) -> None:
        """Adds the layers that make queries of ``width`` channels of the tokens."""
        self.transform, self.merge = nn.Linear(self.width, width), nn.Linear(3 * width, width)
        for layer in (self.transform, self.merge):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))

    def queries(self) -> Tensor:
        """(tokens, width): of every token what it is in all blocks, as one query.

        Each channel of a query sees, beside one another, the maximum over the blocks, the mean, and
        the last block's value of every channel of the transformed token.
        """
        assert self.transform is not None and self.merge is not None
        tokens = self.transform(self.tokens())
        parts = torch.stack([tokens.amax(dim=0), tokens.mean(dim=0), tokens[-1]], dim=-1)
        return self.merge(parts.flatten(1))

    def forward(self, x: Tensor, block: int, prefix: int) -> Tensor:
        """Refine the output (B, prefix + N, D) of a block; prefix tokens pass unchanged."""
        tokens = self.tokens()[block]
        before, features = x[:, :prefix], x[:, prefix:]
        likeness = features @ tokens.T / math.sqrt(self.width)
        shares = likeness.float().softmax(dim=-1).to(features.dtype)
        change = shares[..., 1:] @ self.mlp_token2feat(tokens[1:])
        features = features + self.scale * self.mlp_delta_f(features + change)
        return torch.cat([before, features.to(x.dtype)], dim=1)
