"""The part that every trainer shares: a segmentor, the step's bookkeeping, inference."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from mmengine.dist import get_rank
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_uda.engine.exchange import BUCKET_MIB, StepExchange, running_statistics
from mmseg_uda.engine.execution import Execution
from mmseg_uda.engine.finite import FiniteCheck
from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.options import NoOptions, Options, sign
from mmseg_uda.engine.panels import Panel
from mmseg_uda.engine.processes import copy_from_main
from mmseg_uda.engine.state_watch import StateWatch
from mmseg_uda.engine.step_seed import seed_step
from mmseg_uda.errors import UserError
from mmseg_uda.models.adapters.query_link import check_linked
from mmseg_uda.models.head_outputs import main_head
from mmseg_uda.models.normalization import check_normalization
from mmseg_uda.models.views import (
    ChooseOffset,
    SegmentorOutput,
    segmentation_loss,
    training_forward,
)
from mmseg_uda.taxonomy import Taxonomy, load_taxonomy


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """Sum of the entries whose name contains ``loss``, as mmengine's ``parse_losses``."""
    terms = [value for name, value in losses.items() if "loss" in name]
    return torch.stack(terms).sum() if len(terms) > 1 else terms[0]


@contextmanager
def batch_norm_advice(image: Tensor) -> Iterator[None]:
    """Region of a training pass on ``image``, (B, C, H, W).

    Raises:
        UserError: If a BatchNorm layer gets one value per channel.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        batch, _, height, width = image.shape
        raise UserError(
            f"BatchNorm got one value per channel from {batch} image of {height}x{width}: a "
            "layer pools the whole image, or the crop is as small as a feature cell.",
            fix="Use train_dataloader.batch_size=2 or more, a normalisation within an image "
            "(norm_cfg=dict(type='GN', num_groups=32)), or a larger crop.",
        ) from error


class Trainer(BaseModel):
    """Wraps the deployed segmentor (``model``) with the way it is trained.

    A subclass implements :meth:`run_step`; validation and testing use the segmentor alone.

    Args:
        segmentor: Config of an mmsegmentation ``EncoderDecoder``.
        taxonomy: Name or file of the label space; needed by components that use class names.
        max_iters: Length of the run in optimizer steps, for validating schedules; 0 if unknown.
        seed: Seed of the steps' random choices, dropout's included; filled in from
            ``randomness``.
        execution: How the networks are run on the machine; see :class:`Execution`.
        options: Those of the subclass; see its ``Options``.

    Raises:
        UserError: For an option that cannot work.
    """

    #: Whether a step needs target images.
    needs_target: ClassVar[bool] = False
    #: Further methods whose time a benchmark shows, and under which name.
    phases: ClassVar[Mapping[str, str]] = {}
    #: What a config may say of the trainer; see :class:`mmseg_uda.engine.options.Options`.
    Options: ClassVar[type[Options]] = NoOptions
    #: Size in MiB of one message of several processes' exchange.
    bucket_mib: float = BUCKET_MIB
    #: Whether further keys are components.
    takes_components: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        sign(cls, Trainer, cls.Options, more=cls.takes_components)

    def __init__(
        self,
        segmentor: dict,
        *,
        taxonomy: str | None = None,
        max_iters: int = 0,
        seed: int = 0,
        execution: dict | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.options: Any = self.Options(**options)
        self.seed = seed
        self.model = MODELS.build(segmentor)
        check_normalization(self.model)
        check_linked(self.model)
        self.execution = Execution.read(execution)
        self.execution.prepare(self.model)
        self.taxonomy: Taxonomy | None = load_taxonomy(taxonomy) if taxonomy else None
        self.max_iters = max_iters
        # Optimizer steps done. The buffer travels with the checkpoint; the number beside it
        # spares a wait for the device.
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._step = 0
        # Batches whose gradients the step in progress holds already.
        self._part = 0
        self.register_load_state_dict_post_hook(self._read_step)
        self._finite = FiniteCheck()
        self._exchange: StepExchange | None = None
        self._scalars: dict[str, Tensor | float] = {}
        #: Whether the next step is to fill ``panels``; set by whoever draws them.
        self.draws = False
        self.panels: list[Panel] = []

    @staticmethod
    def _read_step(module: Trainer, incompatible_keys: Any) -> None:
        module._step = int(module.step)

    @property
    def num_classes(self) -> int:
        """Number of classes of the segmentor's head."""
        return self.model.num_classes

    @property
    def ignore_index(self) -> int:
        """Label value without a class."""
        return main_head(self.model).ignore_index

    def picture_note(self, step: int) -> str:
        """What the debug picture of a step says beside its number; '' for nothing.

        Args:
            step: Counted from 0.
        """
        return ""

    def train_step(self, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper) -> dict:
        """One optimizer step.

        Args:
            data: Collated batch: ``source`` and, for adaptation, ``target``, each with
                ``inputs`` and ``data_samples``.
            optim_wrapper: The student's optimizer wrapper.

        Returns:
            Logged scalars by name, as 0-dim tensors on the device.

        Raises:
            UserError: If the optimizer wrapper is not ours.
            NonFiniteError: If a loss, a gradient, a teacher's weight or a buffer of this step (on
                a GPU: of one shortly before) was not finite; the parameters are those before
                that step.
        """
        if not isinstance(optim_wrapper, StepOptimWrapper):
            raise UserError(
                f"{type(self).__name__} accumulates several backward passes per step, which "
                f"{type(optim_wrapper).__name__} counts as several steps.",
                fix="Set optim_wrapper.type to 'StepOptimWrapper'.",
            )
        if self._exchange is None:
            self._begin(optim_wrapper)
        self._scalars = {}
        self.panels = []
        seed_step(self.seed, get_rank(), self._step, self._part)
        self.run_step(data, optim_wrapper)
        self._finite.note(self._step, self._scalars, data)
        self._part += 1
        if not optim_wrapper.count_batch():
            return self._scalars
        bad = self._finite.judge(optim_wrapper.device)
        bad_anywhere = self.exchange(bad)
        hold = self._finite.decide(bad_anywhere, optim_wrapper.gradient_norm())
        optim_wrapper.update(hold)
        if optim_wrapper.clipped_norm is not None:
            self.log("grad_norm", optim_wrapper.clipped_norm)
        self._part = 0
        self._step += 1
        self.step += 1
        self.after_update()
        return self._scalars

    def _begin(self, optim_wrapper: StepOptimWrapper) -> None:
        """Before the first step: what depends on the weights' values and on the device."""
        copy_from_main(self.state_dict().values())
        self.execution.start(self)
        updated = [p for group in optim_wrapper.param_groups for p in group["params"]]
        self._finite.state = StateWatch(self, updated)
        self._exchange = StepExchange(updated, running_statistics(self), self.bucket_mib)

    def exchange(self, flags: Tensor) -> Tensor:
        """Averages gradients and running statistics over the processes, once per update.

        Args:
            flags: (n,) float32, at least 0.

        Returns:
            (n,) float32, above 0 where any process set a flag; ``flags`` in one process.
        """
        assert self._exchange is not None
        return self._exchange(flags)

    @abstractmethod
    def run_step(self, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper) -> None:
        """Computes losses and back-propagates them; the caller does the optimizer step."""

    def after_update(self) -> None:
        """Called after each update of the parameters, when ``step`` counts it."""

    def init_student(self) -> None:
        """Initialises the segmentor, alike in all processes."""
        self.model.init_weights()
        copy_from_main(self.model.state_dict().values())

    def before_save(self) -> None:
        """Called in all processes before a checkpoint is written.

        Raises:
            NonFiniteError: If the verdict on an earlier step was bad.
        """
        self._finite.settle()

    def restart(self) -> None:
        """Counts the steps from 0: the weights of another training begin a new one."""
        self.step.zero_()
        self._step = 0

    def check_sync_bn(self) -> None:
        """Raises a ``UserError`` if forward passes may happen in some processes only."""

    def before_training(self, data: Dataset) -> None:
        """Called once before the first step of a run, with the training data set."""

    def log(self, name: str, value: Tensor | float) -> None:
        """Records a scalar of this step."""
        self._scalars[name] = value.detach() if isinstance(value, Tensor) else value

    def backward(self, losses: Mapping[str, Tensor], optim_wrapper: StepOptimWrapper) -> None:
        """Logs ``losses`` and adds their gradient to the step's."""
        for name, value in losses.items():
            self.log(name, value)
        optim_wrapper.backward(total_loss(losses))

    def forward_student(
        self,
        image: Tensor,
        choose_offset: ChooseOffset | None = None,
        token_mask: Tensor | None = None,
        pixel_mask: Tensor | None = None,
    ) -> SegmentorOutput:
        """The student's training forward of (B, 3, H, W); every one goes through this place.

        Raises:
            UserError: If a BatchNorm layer gets one value per channel.
        """
        with batch_norm_advice(image):
            return training_forward(self.model, image, choose_offset, token_mask, pixel_mask)

    def loss(self, output: SegmentorOutput, label: Tensor, weight: Tensor | None = None) -> dict:
        """The segmentor's losses and accuracies for (B, H, W) labels and weights."""
        return segmentation_loss(self.model, output, label, weight)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """The segmentor's forward in one of mmengine's modes."""
        return self.model(inputs, data_samples, mode=mode)

    @property
    def evaluated(self) -> nn.Module:
        """The segmentor that validation and testing use."""
        return self.model

    def val_step(self, data: Any) -> list:
        """Predicts a validation batch."""
        with self.execution.prediction():
            return self.evaluated.val_step(data)

    def test_step(self, data: Any) -> list:
        """Predicts a test batch."""
        with self.execution.prediction():
            return self.evaluated.test_step(data)
