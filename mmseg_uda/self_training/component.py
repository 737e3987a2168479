"""The protocol between the self-training step and the methods that plug into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_uda.engine.execution import Execution
from mmseg_uda.engine.options import NoOptions, Options, sign
from mmseg_uda.engine.panels import Panel
from mmseg_uda.engine.records import SourceBatch, TargetBatch
from mmseg_uda.models.views import SegmentorOutput
from mmseg_uda.self_training.image_changes import ImageChanges
from mmseg_uda.self_training.random import StepRandom
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels
from mmseg_uda.self_training.teacher import EmaTeacher
from mmseg_uda.taxonomy import Taxonomy

Losses = Mapping[str, Tensor]


class Host(Protocol):
    """What a component may use of the trainer that it is part of.

    Attributes:
        model: The student, an mmsegmentation ``EncoderDecoder``.
        teacher: Its average; None without pseudo-labels of the host's (``source_only``, AdvSeg).
        taxonomy: The label space by name; None if the config names none.
        execution: How the networks are run on the machine.
        image_changes: Augmentation of images, as the options say.
    """

    model: Any
    teacher: EmaTeacher | None
    taxonomy: Taxonomy | None
    execution: Execution
    image_changes: ImageChanges

    @property
    def options(self) -> Any:
        """The host's options; see ``HostOptions``."""

    @property
    def adapts(self) -> bool:
        """Whether the target's images are learnt from."""

    @property
    def num_classes(self) -> int:
        """Number of classes of the segmentor's head."""

    @property
    def ignore_index(self) -> int:
        """Label value without a class."""

    def build_teacher(self, alpha: float) -> tuple[nn.Module, EmaTeacher]:
        """A further teacher network for the student, and its averaging."""

    def forward_student(
        self,
        image: Tensor,
        choose_offset: Any = None,
        token_mask: Tensor | None = None,
        pixel_mask: Tensor | None = None,
    ) -> SegmentorOutput:
        """The student's training forward on normalised images (B, 3, H, W).

        ``token_mask``, (B, h·w) bool, names tokens that a :class:`TimmViT` is not shown,
        ``pixel_mask``, (B, 1, h, w) float32 of 0 and 1, pixels of its resized image that it is.
        """

    def loss(
        self, output: SegmentorOutput, label: Tensor, weight: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The segmentor's losses and accuracies for (B, H, W) labels and weights."""

    def refine_labels(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """The label edits of all components, for another teacher's labels."""

    def valid_pixels(self, target: TargetBatch) -> Tensor | None:
        """(B, H, W) float32 of 0 and 1: where pseudo-labels count; None means everywhere."""


@dataclass(frozen=True)
class StepContext:
    """What a component may use during one step.

    Attributes:
        step: Number of completed optimizer steps, 0 in the first.
        random: Source of every random choice.
        host: The trainer.
        log: ``log(name, value)`` records a scalar (0-dim tensor on the device, or a number);
            it reaches the host when it is logged.
        draws: True in a step of which a debug picture is drawn: a stage then hands what it has
            to :meth:`show`. Nothing else may depend on it.
        part: Number of the batch in the step, 0 in the first, where gradients of several
            batches accumulate. What happens once per step happens at 0.
        panels: What the debug picture of this step shows, in the order of the step.
        notes: What a component's stage leaves for a later stage of the same step, by component.
    """

    step: int
    random: StepRandom
    host: Host
    log: Callable[[str, Tensor | float], None]
    draws: bool = False
    part: int = 0
    panels: list[Panel] = field(default_factory=list)
    notes: dict[Component, Any] = field(default_factory=dict)

    def show(self, *panels: Panel) -> None:
        """Adds panels to the debug picture, in a step with ``draws``::

            if ctx.draws:
                ctx.show(MapPanel("uncertainty", uncertainty, limits=None))

        The records are in :mod:`mmseg_uda.engine.panels` and take tensors as they are. Nothing
        here may wait for the device, draw random numbers, or run a network that training does not
        run anyway (BatchNorm would notice): the numbers of a training are the same with and
        without pictures. Tensors need no copy: what is shown is copied, without waiting, at the
        end of the step, and drawn in the background.
        """
        self.panels.extend(panels)


class Component(nn.Module):
    """A method's part in the self-training step; implement only the stages it needs.

    Components run in ascending ``order``. What must survive a resume is kept in buffers, what a
    later stage of the same step needs in ``ctx.notes[self]``. A stage that edits a record returns
    a new one. Stages must not wait for the device; a component may declare one wait per step
    (``host_waits``).

    In a run of several processes each runs the step on batches of its own; gradients are
    averaged without a component's help, also those of a loss that occurs in some processes only.
    State must be the same in all processes, except for the counters named in ``summed`` and
    ``smallest``.
    """

    #: feature distance 0, relabelling 10, depth 20, subdomains 30, masking 40. Components
    #: registered elsewhere run between the built-in ones unless they say otherwise.
    order: ClassVar[int] = 35
    #: How often the host may wait for the device in a step, once the first steps are over.
    host_waits: ClassVar[int] = 0
    #: Names of further per-pixel maps that the batches must carry, by domain.
    source_fields: ClassVar[tuple[str, ...]] = ()
    target_fields: ClassVar[tuple[str, ...]] = ()
    #: Integer buffers that start at 0 and count on in each process: the sum is what counts.
    summed: ClassVar[tuple[str, ...]] = ()
    #: Buffers of which the least value in any process counts (when something was first seen).
    smallest: ClassVar[tuple[str, ...]] = ()
    #: Whether the student or a teacher may run in some processes only. Synchronised BatchNorm
    #: would wait for the others for ever, so the two cannot be combined.
    runs_alone: bool = False
    #: What a config may say of the component; see :class:`mmseg_uda.engine.options.Options`.
    Options: ClassVar[type[Options]] = NoOptions

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        sign(cls, Component, cls.Options)

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options: Any = self.Options(**options)
        # The summed counters as the processes last agreed on them.
        self._agreed: dict[str, Tensor] = {}
        self.register_load_state_dict_post_hook(self._agree_on_loaded)

    @staticmethod
    def _agree_on_loaded(module: Component, incompatible_keys: Any) -> None:
        module._agreed = {name: module.get_buffer(name).clone() for name in module.summed}

    def reduce(self) -> None:
        """Brings the counters of all processes together; nothing in one process.

        All processes must call it at the same step. The trainer does before each checkpoint; a
        component does itself before it decides by its counters.
        """
        if get_world_size() == 1:
            return
        for name in self.summed:
            counter = self.get_buffer(name)
            before = self._agreed.get(name, torch.zeros_like(counter)).to(counter.device)
            new = counter - before
            all_reduce(new, "sum")
            counter.copy_(before + new)
            self._agreed[name] = counter.clone()
        for name in self.smallest:
            all_reduce(self.get_buffer(name), "min")

    def bind(self, host: Host) -> None:
        """Called once when the trainer is built: check the configuration, build networks.

        Raises:
            UserError: If the configuration cannot work, with the reason.
        """

    def after_weights(self, host: Host) -> None:
        """Called when the student's initial weights are in place."""

    def before_training(self, host: Host, data: Dataset) -> None:
        """Called once before the first step of a run, with the training data set."""

    def begin_step(self, ctx: StepContext) -> None:
        """Called at the start of the step, after the host's teacher was updated."""

    def source_losses(
        self, ctx: StepContext, source: SourceBatch, output: SegmentorOutput
    ) -> Losses:
        """Losses on the source batch's forward pass, back-propagated with its cross-entropy."""
        return {}

    def teacher_logits(self, ctx: StepContext, target: TargetBatch) -> Tensor | None:
        """The host's teacher pass, by a component that needs more of it than its logits.

        Called without gradients. The first component that answers makes the pass.

        Returns:
            (B, C, H, W) float32 logits behind the pseudo-labels; None leaves the pass to the
            next component, or to the host.
        """
        return None

    def refine_labels(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """Edits labels; applied to every teacher's labels (``pseudo.primary`` tells which)."""
        return pseudo

    def refine_weights(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """Edits weights; applied to the host's own labels only."""
        return pseudo

    def choose_source(
        self, ctx: StepContext, source: SourceBatch, target: TargetBatch, pseudo: PseudoLabels
    ) -> SourceBatch:
        """The batch whose pixels are pasted on the target images."""
        return source

    def after_mixing(self, ctx: StepContext, mixed: MixedBatch) -> None:
        """Called with the mixed batch, before the target losses."""

    def target_losses(self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels) -> Losses:
        """Losses on the target batch, back-propagated before the mix loss."""
        return {}

    def late_losses(
        self,
        ctx: StepContext,
        source: SourceBatch,
        target: TargetBatch | None,
        pseudo: PseudoLabels | None,
    ) -> Losses:
        """Losses after the mix loss; a host without pseudo-labels (``source_only``) gives None."""
        return {}
