"""Rein's link: the tokens that refine an encoder's features are the decoder's queries, too."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.adapters.rein import Rein


class LinkedQueries(nn.Module):
    """Stands where a decoder has the embedding of its queries, and reads them off Rein's tokens.

    Attributes:
        weight: (queries, channels), with its gradient; the parameters are the encoder's.
    """

    def __init__(self, rein: Rein) -> None:
        super().__init__()
        self._of = (rein,)  # no submodule: parameters and state belong to the encoder alone

    @property
    def weight(self) -> Tensor:
        """The queries as the tokens are now."""
        return self._of[0].queries()


def link_queries(segmentor: Any) -> None:
    """Makes the tokens of a segmentor's encoder the queries of its decoder, where Rein does so.

    Raises:
        UserError: The decoder has no queries, or not one for each token.
    """
    rein = getattr(segmentor.backbone, "rein", None)
    head = segmentor.decode_head
    if rein is None or rein.options.link_queries is False or rein.merge is not None:
        return
    if not hasattr(head, "take_queries"):
        check_linked(segmentor)
        return
    if rein.options.tokens != head.num_queries:
        raise UserError(
            f"backbone.adapter.tokens={rein.options.tokens}, and the decoder has "
            f"{head.num_queries} queries; every token is one.",
            fix=f"Set decode_head.num_queries={rein.options.tokens}, or link_queries=False.",
        )
    rein.link(head.channels)
    head.take_queries(LinkedQueries(rein))


def check_linked(segmentor: Any) -> None:
    """Raises if queries are asked of tokens, and nothing takes them.

    Raises:
        UserError: The decoder has no queries, or the segmentor is of a kind that links none.
    """
    rein = getattr(segmentor.backbone, "rein", None)
    if rein is not None and rein.options.link_queries and rein.merge is None:
        raise UserError(
            f"backbone.adapter.link_queries=True: {type(segmentor.decode_head).__name__} in a "
            f"{type(segmentor).__name__} takes no queries.",
            fix="Leave it out, or set model.type='SlideEncoderDecoder' and "
            "decode_head.type='TorchMask2FormerHead'.",
        )
