"""What trainers share that take components: the batches, the source's losses, further teachers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

from mmengine.dist import get_rank
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.panels import source_panels
from mmseg_uda.engine.records import SourceBatch, TargetBatch, source_batch, target_batch
from mmseg_uda.engine.trainer import Trainer
from mmseg_uda.errors import UserError
from mmseg_uda.models.head_outputs import check_class_scores, check_pixel_weights
from mmseg_uda.models.losses import averaged_over, pixel_losses
from mmseg_uda.models.sharing import frozen_in_common
from mmseg_uda.models.views import SegmentorOutput
from mmseg_uda.self_training.component import Losses, StepContext
from mmseg_uda.self_training.components import ComputeLosses
from mmseg_uda.self_training.image_changes import ImageChanges
from mmseg_uda.self_training.options import HostOptions
from mmseg_uda.self_training.panels import target_panel
from mmseg_uda.self_training.random import StepRandom
from mmseg_uda.self_training.records import PseudoLabels
from mmseg_uda.self_training.registry import build_components
from mmseg_uda.self_training.teacher import EmaTeacher, margin_mask


class ComponentHost(Trainer):
    """A trainer with a source, a target and components.

    A subclass implements :meth:`run_step` and gives the components their stages; networks that
    these need before them are made in :meth:`build_networks`.

    Args:
        segmentor: Config of the segmentor (student).
        seed: Seed of the step's random choices.
        config: Options of :class:`Trainer` and of the subclass. Every further key is a component's
            config under its role: ``feature_distance``, ``masking``, …; None switches one off.

    Raises:
        UserError: For an unknown key or a combination that cannot work.
    """

    Options = HostOptions
    needs_target = True
    takes_components = True
    #: The host's own source of pseudo-labels; None where it has none.
    teacher: EmaTeacher | None = None

    def __init__(self, segmentor: dict, *, seed: int = 0, **config: Any) -> None:
        known = signature(type(self)).parameters
        components = {key: config.pop(key) for key in list(config) if key not in known}
        super().__init__(segmentor, seed=seed, **config)
        if self.adapts:
            check_class_scores(self.model, type(self).__name__)
            check_pixel_weights(self.model)
        self.random = StepRandom(seed, get_rank())
        self.image_changes = ImageChanges(self.options)
        self.build_networks()
        self.components = build_components(components, known)
        self._check_options()
        self.components.bind(self)

    @property
    def adapts(self) -> bool:
        """Whether the target's images are learnt from."""
        return True

    def picture_note(self, step: int) -> str:
        """See :class:`Trainer`."""
        start = self.options.target_start
        waits = self.adapts and step < start
        return f"the target takes part from iteration {start + 1} on" if waits else ""

    def build_networks(self) -> None:
        """Makes the networks beside the student and the components'."""

    def _check_options(self) -> None:
        average = self.options.source_average
        if average is not None and not pixel_losses(self.model):
            raise UserError(
                f"uda.source_average={average!r} averages a PixelCrossEntropy, and "
                "the decode head has another loss.",
                fix="Leave it out, or set model.decode_head.loss_decode.type='PixelCrossEntropy'.",
            )

    def build_teacher(self, alpha: float) -> tuple[nn.Module, EmaTeacher]:
        """A teacher network for the student, and its averaging."""
        network = frozen_in_common(self.model)
        options = self.options
        return network, EmaTeacher(network, alpha, options.teacher_norm, options.teacher_flip)

    def init_weights(self) -> None:
        """Initialises the student once; every other segmentor starts as its copy."""
        self.init_student()
        self.components.after_weights(self)

    def before_save(self) -> None:
        """Brings the components' counters of all processes together."""
        super().before_save()
        self.components.reduce()

    def check_sync_bn(self) -> None:
        """Raises a ``UserError`` if a component runs a network in some processes only."""
        self.components.check_sync_bn()

    def before_training(self, data: Dataset) -> None:
        """Shows the training data set to the components."""
        self.components.before_training(self, data)

    def begin_step(self) -> StepContext:
        """Seeds the step's random choices; what the components see of the step."""
        self.random.begin_step(self._step, self._part)
        return StepContext(
            self._step, self.random, self, self.log, self.draws, self._part, self.panels
        )

    def learn(self, optim_wrapper: StepOptimWrapper, compute: ComputeLosses) -> None:
        """Computes losses in the run's precision and adds their gradient to the step's."""
        with optim_wrapper.optim_context(self):
            losses = compute()
        if losses:
            self.backward(losses, optim_wrapper)

    def read_batches(
        self, ctx: StepContext, data: Mapping[str, Any], with_target: bool
    ) -> tuple[SourceBatch, TargetBatch | None]:
        """The step's records; no target where it takes no part, or there is none to take.

        Raises:
            UserError: A component needs a per-pixel map that a batch does not have.
        """
        preprocessor = self.model.data_preprocessor
        source = source_batch(data["source"], preprocessor)
        self.components.check_fields("source", source.fields)
        if ctx.draws:
            ctx.show(*source_panels(source))
        if not with_target or (not self.adapts and "target" not in data):
            return source, None
        target = target_batch(data["target"], preprocessor)
        if self.adapts:
            self.components.check_fields("target", target.fields)
            if ctx.draws:
                ctx.show(target_panel(target))
        return source, target

    def source_losses(
        self, ctx: StepContext, source: SourceBatch
    ) -> tuple[Losses, SegmentorOutput]:
        """Cross-entropy on the source images, and the components' losses on the same pass."""
        image = self.image_changes.source(source.image, source.normalization, self.random)
        source = replace(source, image=image)
        output = self.forward_student(source.image)
        with averaged_over(self.model, self.options.source_average):
            losses = self.loss(output, source.label)
        return {**losses, **self.components.source_losses(ctx, source, output)}, output

    def forward_student(
        self,
        image: Tensor,
        choose_offset: Any = None,
        token_mask: Tensor | None = None,
        pixel_mask: Tensor | None = None,
    ) -> SegmentorOutput:
        """The training forward of (B, 3, H, W); a detail crop's position is from ``random``."""
        choose_offset = choose_offset or self.random.crop_offset
        return super().forward_student(image, choose_offset, token_mask, pixel_mask)

    def refine_labels(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """All components' label edits, for any teacher's labels."""
        return self.components.refine_labels(ctx, target, pseudo)

    def valid_pixels(self, target: TargetBatch) -> Tensor | None:
        """(B, H, W) float32 of 0 and 1: where pseudo-labels count; None means everywhere."""
        return margin_mask(
            target,
            self.options.pseudo_weight_ignore_top,
            self.options.pseudo_weight_ignore_bottom,
        )
