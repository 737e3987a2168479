"""The components of a host, called together at each stage of the step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_uda.engine.records import SourceBatch, TargetBatch
from mmseg_uda.errors import UserError
from mmseg_uda.models.views import SegmentorOutput
from mmseg_uda.self_training.component import Component, Host, Losses, StepContext
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels

ComputeLosses = Callable[[], Losses]


class Components(nn.ModuleDict):
    """Components by role, in the order in which they run.

    Each method runs the stage of the same name of all components; see :class:`Component` for what
    a stage may do. Losses come as functions, so that the graph of one can be gone before the next
    is made.

    Args:
        components: By role; sorted by ``order``, then by role.
    """

    def __init__(self, components: Mapping[str, Component]) -> None:
        super().__init__(dict(sorted(components.items(), key=lambda c: (c[1].order, c[0]))))

    def _all(self) -> Iterator[Component]:
        yield from self.values()  # type: ignore[misc]

    def makes_teacher_pass(self) -> str | None:
        """The role of the first component that makes the teacher's pass itself; None if none."""
        own = (r for r, c in self.items() if type(c).teacher_logits is not Component.teacher_logits)  # type: ignore[attr-defined]
        return next(own, None)

    def bind(self, host: Host) -> None:
        """Shows the host, once it is built."""
        for component in self._all():
            component.bind(host)

    def after_weights(self, host: Host) -> None:
        """The student's initial weights are in place."""
        for component in self._all():
            component.after_weights(host)

    def before_training(self, host: Host, data: Dataset) -> None:
        """Shows the training data set."""
        for component in self._all():
            component.before_training(host, data)

    def reduce(self) -> None:
        """Brings the counters of all processes together."""
        for component in self._all():
            component.reduce()

    def check_fields(self, domain: str, fields: Mapping[str, Tensor]) -> None:
        """Raises unless a batch has the per-pixel maps that the components need.

        Args:
            domain: ``source`` or ``target``.
            fields: The batch's maps by name.

        Raises:
            UserError: Names the component and the map.
        """
        for role, component in self.items():
            for name in getattr(component, f"{domain}_fields"):
                if name not in fields:
                    raise UserError(
                        f"uda.{role} needs the per-pixel map {name!r} of the {domain} images, "
                        "which the data set does not give.",
                        fix="Add a transform that loads it to train_dataloader.dataset."
                        f"{domain}.pipeline and lists it in seg_fields.",
                    )

    def check_sync_bn(self) -> None:
        """Raises a ``UserError`` if a component runs a network in some processes only."""
        for role, component in self.items():
            if component.runs_alone:
                raise UserError(
                    f"sync_bn does not go together with uda.{role}, which runs the network in "
                    "some processes only: the others would wait for ever.",
                    fix="Leave sync_bn out; running statistics are averaged over the processes.",
                )

    def begin_step(self, ctx: StepContext) -> None:
        """The host's teacher has followed the student."""
        for component in self._all():
            component.begin_step(ctx)

    def teacher_logits(self, ctx: StepContext, target: TargetBatch) -> Tensor | None:
        """(B, C, H, W) float32 of the first component that makes the teacher's pass, or None."""
        for component in self._all():
            logits = component.teacher_logits(ctx, target)
            if logits is not None:
                return logits
        return None

    def refine_labels(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """All label edits, one after the other."""
        for component in self._all():
            pseudo = component.refine_labels(ctx, target, pseudo)
        return pseudo

    def refine_weights(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """All weight edits, one after the other."""
        for component in self._all():
            pseudo = component.refine_weights(ctx, target, pseudo)
        return pseudo

    def source_losses(
        self, ctx: StepContext, source: SourceBatch, output: SegmentorOutput
    ) -> dict[str, Tensor]:
        """Losses on the source batch, as ``src.<name>``."""
        losses: dict[str, Tensor] = {}
        for component in self._all():
            losses |= add_prefix("src", component.source_losses(ctx, source, output))
        return losses

    def choose_source(
        self, ctx: StepContext, source: SourceBatch, target: TargetBatch, pseudo: PseudoLabels
    ) -> SourceBatch:
        """The batch whose pixels are pasted."""
        for component in self._all():
            source = component.choose_source(ctx, source, target, pseudo)
        return source

    def after_mixing(self, ctx: StepContext, mixed: MixedBatch) -> None:
        """Shows the mixed batch."""
        for component in self._all():
            component.after_mixing(ctx, mixed)

    def target_losses(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> list[ComputeLosses]:
        """Losses on the target batch, each to be computed and back-propagated by itself."""
        return [partial(c.target_losses, ctx, target, pseudo) for c in self._all()]

    def late_losses(
        self,
        ctx: StepContext,
        source: SourceBatch,
        target: TargetBatch | None,
        pseudo: PseudoLabels | None,
    ) -> list[ComputeLosses]:
        """Losses after the mix loss, each to be computed and back-propagated by itself."""
        return [partial(c.late_losses, ctx, source, target, pseudo) for c in self._all()]


def add_prefix(prefix: str, losses: Losses) -> dict[str, Tensor]:
    """Puts ``prefix.`` before every key."""
    return {f"{prefix}.{name}": value for name, value in losses.items()}
