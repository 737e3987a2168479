"""Options of the self-training host."""

from __future__ import annotations

from dataclasses import dataclass

from mmseg_uda.engine.options import Options
from mmseg_uda.self_training.teacher import SHARES


@dataclass(frozen=True)
class SelfTrainingOptions(Options):
    """Options of :class:`SelfTraining`; defaults are those of the published DAFormer runs."""

    alpha: float = 0.999
    """Decay of the teacher's average. DAFormer 0.999, DACS 0.99."""
    pseudo_threshold: float = 0.968
    """Teacher probability from which a pixel counts as confident."""
    pseudo_share: str = "batch"
    """``batch``: one share of confident pixels for the batch, as the published code does;
    ``per_image``: one per image, as the DAFormer paper writes."""
    pseudo_weight_ignore_top: int = 0
    """Crop rows at the top without weight (Cityscapes at half resolution: 15)."""
    pseudo_weight_ignore_bottom: int = 0
    """Crop rows at the bottom without weight (there: 120)."""
    class_pool: str = "batch"
    """``batch``: half of the classes of the whole batch are pasted, as the code does;
    ``per_image``: half of the image's own, as the DACS paper writes."""
    paste_ignored: bool = True
    """Whether unlabelled source pixels count as a class that can be pasted, as in the code."""
    jitter_probability: float = 0.8
    """Effective probability of colour jitter on mixed images. The published configs say 0.2 for
    the probability of *not* jittering."""
    jitter_strength: float = 0.2
    """Half width of the jitter factors' range."""
    blur_probability: float = 0.5
    """Probability of blurring mixed images."""
    target_start: int = 0
    """Steps of source training before the target takes part. 0 in all published runs."""
    source_only: bool = False
    """No pseudo-labels and no mixing; late losses still run (supervised MIC)."""
    teacher_norm: str = "batch"
    """``batch``: the teacher's BatchNorm uses the statistics of the target batch, as in the
    code; ``running``: the student's running statistics."""
    inference: str = "student"
    """``student`` (published numbers) or ``teacher``."""

    def check(self) -> None:
        """Raise a ``UserError`` for values that cannot work."""
        self.require_choice("pseudo_share", SHARES)
        self.require_choice("class_pool", ("batch", "per_image"))
        self.require_choice("teacher_norm", ("batch", "running"))
        self.require_choice("inference", ("student", "teacher"))
