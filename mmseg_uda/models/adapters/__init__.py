"""Small trained parts of encoders whose weights are frozen: LoRA, SoMA, Rein."""

from mmseg_uda.models.adapters.low_rank import AdaptedLinear, LowRankOptions, adapt_blocks
from mmseg_uda.models.adapters.rein import Rein, ReinOptions

__all__ = ["ADAPTERS", "AdaptedLinear", "LowRankOptions", "Rein", "ReinOptions", "adapt_blocks"]

# types of ``backbone.adapter``
ADAPTERS: dict[str, type] = {"lora": LowRankOptions, "soma": LowRankOptions, "rein": ReinOptions}
