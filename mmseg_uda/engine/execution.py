"""How the networks of a training are run on the machine: precision, memory, compilation.

A config says so in one top-level key, ``execution``, so that a base file can bring it beside
any model, trainer and schedule. Nothing in it changes a method; results differ by rounding at
most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config

from mmseg_uda.engine.compilation import check_compile_options, compile_network
from mmseg_uda.engine.optim_wrapper import AMP_DTYPES
from mmseg_uda.engine.options import Options, check_options
from mmseg_uda.errors import UserError
from mmseg_uda.models.layout import set_map_layout
from mmseg_uda.models.recompute import recompute_activations


@dataclass(frozen=True)
class Execution(Options):
    """Options of a config's ``execution``."""

    KEY = "execution"

    recompute: tuple[str, ...] = ()
    """Parts of the student whose activations are computed again in the backward pass instead of
    being kept: ``backbone``, ``decode_head``."""
    compile: Mapping[str, Any] | None = None
    """Options of ``torch.compile`` for the student's training passes (``{}`` or True for its
    defaults); None runs them as they are."""
    channels_last: bool = False
    """Keep weights and maps channels-last; else all are contiguous, also maps made of tokens."""
    frozen_dtype: str = "fp32"
    """``fp32``, ``bf16`` or ``fp16``: storage and arithmetic of networks that never train (the
    feature distance's ImageNet network)."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        self.require_choice("frozen_dtype", ("fp32", *AMP_DTYPES))

    @classmethod
    def read(cls, config: Mapping[str, Any] | None) -> Execution:
        """Checks a config.

        Raises:
            UserError: For an unknown key or value.
        """
        options = dict(config or {})
        check_options(cls, options, "execution")
        parts: str | Sequence[str] | None = options.get("recompute")
        options["recompute"] = (parts,) if isinstance(parts, str) else tuple(parts or ())
        chosen = options.get("compile")
        options["compile"] = None
        if chosen is not None and chosen is not False:
            options["compile"] = {} if chosen is True else dict(chosen)
            check_compile_options(options["compile"])
        return cls(**options)

    @property
    def frozen_type(self) -> torch.dtype:
        """``frozen_dtype`` as torch's."""
        return AMP_DTYPES.get(self.frozen_dtype, torch.float32)

    def prepare(self, segmentor: Any) -> None:
        """Changes a newly built segmentor; teachers become copies of it."""
        recompute_activations(segmentor, self.recompute)
        if self.channels_last:
            set_map_layout(segmentor, torch.channels_last)

    def start(self, trainer: Any) -> None:
        """Changes layouts and compiles; called before the first step, on the final device.

        Not earlier: initialisation draws weights in the order in which they lie in memory.
        """
        if self.channels_last:
            trainer.to(memory_format=torch.channels_last)
        if self.compile is not None:
            compile_network(trainer.model, self.compile)

    def prediction(self) -> AbstractContextManager[Any]:
        """Region for validation: images of other sizes are not worth a compilation."""
        if self.compile is None or not hasattr(torch.compiler, "set_stance"):
            return nullcontext()
        return torch.compiler.set_stance("force_eager")


def spread_execution(cfg: Config) -> None:
    """Hands each entry of ``cfg.execution`` to the part that it concerns.

    ``cfg`` changes, the dicts inside it are exchanged. ``amp`` goes to the optimizer wrapper
    unless that has one, ``batch_pixels`` to the segmentor's ``test_cfg``, the rest to
    ``uda.execution``.

    Raises:
        UserError: For mmengine's own ``compile``.
    """
    if cfg.get("compile") not in (None, False):
        raise UserError(
            "compile=… would compile the whole training step, which cannot work.",
            fix="Use execution.compile=True; it compiles the student's network.",
        )
    options = dict(cfg.pop("execution", None) or {})
    amp, batch_pixels = options.pop("amp", None), options.pop("batch_pixels", None)
    if amp is not None and cfg.get("optim_wrapper") is not None:
        cfg.optim_wrapper = {"amp": amp, **cfg.optim_wrapper}
    if batch_pixels is not None:
        test_cfg = {**(cfg.model.get("test_cfg") or {}), "batch_pixels": batch_pixels}
        cfg.model = {**cfg.model, "test_cfg": test_cfg}
    if options:
        cfg.uda = {**cfg.uda, "execution": options}
