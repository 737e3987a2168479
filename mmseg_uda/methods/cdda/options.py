"""Options of CDDA's component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_uda.data_root import resolve_data_root
from mmseg_uda.engine.options import Options
from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda.guidance import SCOPES, TRIGGERS
from mmseg_uda.methods.cdda.histogram import BINS
from mmseg_uda.methods.cdda.opening import BUILD_OPTIONS, SEARCH_DEVICES
from mmseg_uda.methods.cdda.schedule import threshold
from mmseg_uda.methods.cdda.weights import MASKS


@dataclass(frozen=True)
class DepthOptions(Options):
    """Options of :class:`DepthSimilarity`; defaults are the published values."""

    KEY = "uda.depth"

    bank: str
    """Folder of the bank of source crops, or a ``.pth`` matrix of CDDA's own tool. A leading
    ``data/`` follows MMSEG_UDA_DATA_ROOT."""
    reweight_threshold: float = 0.56
    """Score above which pseudo-labels are reweighted and the source replaced."""
    relabel_threshold: float = 0.54
    """Score above which missing classes guide the student."""
    threshold_decay: float = 0.0025
    """Taken off both thresholds at each decrement."""
    decay_begin: int = 10000
    """Step of the first decrement; see ``decay_count``."""
    decay_end: int = 40000
    """Step behind the last one."""
    decay_interval: int = 1000
    """Steps between two."""
    sim_low: float = 0.1
    """Similarity up to which a class's weight is 0."""
    sim_high: float = 0.75
    """Similarity from which it is 1."""
    skip_classes: str | Sequence[str | int] = "auto"
    """Classes, by name or id, whose weights stay: ``auto`` are those that do not occur in the
    bank."""
    reweight: bool = True
    """Whether a match weighs pseudo-labels."""
    replace_source: bool = True
    """Whether a match is pasted in place of the source image."""
    guidance: bool = True
    """Whether missing classes guide the student."""
    reweight_mask: str = "class"
    """``class``, or ``first_row`` as CDDA's released code computes it; see ``reweight``. The
    published numbers were presumably made with the latter."""
    guidance_weight: float = 0.1
    """Factor on the guidance loss, times the share of confident pixels."""
    guidance_trigger: str = "any"
    """``any`` missing class that occurs at a depth of the target starts the pass; ``last``: as the
    released code decides, see ``triggered``. Needs depth as float32."""
    guidance_scope: str = "batch"
    """``batch``: images without a soft label take part with their pseudo-label, as published;
    ``flagged``: their loss is 0."""
    guidance_valid_mask: bool = False
    """Whether margins are left out of the guidance loss (published: no)."""
    bins: int = BINS
    """Depth bins of equal width over which histograms are compared, a divisor of 256 (published:
    256). Fewer where crops have so few pixels that two draws of one scene hardly overlap; any bank
    serves any number."""
    min_class_pixels: int = 1
    """Classes with fewer pixels in the pseudo-label do not count."""
    max_prob: float = 0.99999
    """Replaces a missing class's probability of 1."""
    search_device: str = "auto"
    """``auto``: the GPU if the bank fits well, else the CPU; ``cuda``; ``cpu``; ``mmap``: the CPU
    without holding the bank in memory (that of fewer ``bins`` is held)."""
    prefetch: bool = True
    """Read crops in the background."""
    build: Mapping[str, Any] | None = None
    """Build a bank that is missing with these options (``count``, ``sampling``, ``seed``,
    ``workers``; see ``BankDraws``). None: a missing bank is an error."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        self.require_choice("reweight_mask", MASKS)
        self.require_choice("guidance_trigger", TRIGGERS)
        self.require_choice("guidance_scope", SCOPES)
        self.require_choice("search_device", SEARCH_DEVICES)
        similarities = 0 <= self.sim_low < self.sim_high <= 1
        self.require("sim_low", similarities, f"0 <= sim_low < sim_high ({self.sim_high}) <= 1")
        self.require("max_prob", 0 < self.max_prob < 1, "a number in (0, 1)")
        decays = 0 <= self.decay_begin <= self.decay_end
        self.require("decay_begin", decays, f"0 <= decay_begin <= decay_end ({self.decay_end})")
        self.require("decay_interval", self.decay_interval >= 1, "at least 1 step")
        divides = self.bins >= 1 and BINS % self.bins == 0
        self.require("bins", divides, f"a divisor of {BINS}")
        self.require("min_class_pixels", self.min_class_pixels >= 1, "at least 1")
        unknown = sorted(set(self.build or {}) - set(BUILD_OPTIONS))
        if unknown:
            raise UserError(
                f"{self.KEY}.build has no option {unknown}.", fix=f"Use {', '.join(BUILD_OPTIONS)}."
            )

    @property
    def bank_path(self) -> Path:
        """Where the bank is."""
        return Path(resolve_data_root(self.bank))

    def thresholds(self, step: int) -> tuple[float, float]:
        """Thresholds of reweighting and replacement, and of guidance, at ``step``."""
        steps = (self.decay_begin, self.decay_end, self.decay_interval)
        first, second = (
            threshold(start, self.threshold_decay, step, *steps)
            for start in (self.reweight_threshold, self.relabel_threshold)
        )
        return first, second
