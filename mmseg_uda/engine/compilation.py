"""``torch.compile`` for the student's network."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log

from mmseg_uda.engine.options import check_options
from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.models.recompute import decoders


def check_compile_options(options: Mapping[str, Any]) -> None:
    """Raises unless ``torch.compile`` takes the options.

    Raises:
        UserError: For an unknown option or backend.
    """
    check_options(torch.compile, options, "execution.compile")  # type: ignore[arg-type]
    known = torch.compiler.list_backends(exclude_tags=())
    backend = options.get("backend", "inductor")
    require_choice("execution.compile.backend", backend, known)
    if options.get("mode") and options.get("options"):
        raise UserError(
            "execution.compile has both a mode and options, which torch.compile cannot combine.",
            fix="Leave one of them out.",
        )


def compile_network(segmentor: Any, options: Mapping[str, Any]) -> bool:
    """Compiles encoder and decoders of a segmentor in place; names in the state dict stay.

    These parts have the same input sizes in every step. What lies between them, such as HRDA's
    random crop, is left to the interpreter, which would compile anew for each position.
    Copies of the segmentor are not compiled.

    Args:
        segmentor: An mmseg ``EncoderDecoder`` on its device.
        options: For ``torch.compile``.

    Returns:
        Whether compilation works here; if not, a warning says why.
    """
    device = next(segmentor.parameters()).device
    problem = compiler_problem(device, options)
    if problem is not None:
        print_log(
            f"execution.compile is left out, because torch.compile does not work here: {problem}\n"
            "It needs a C++ compiler (for a CPU: g++ or clang++), for a GPU Triton and a C "
            "compiler. The training goes on without; execution.compile=None silences this.",
            logger="current",
            level=logging.WARNING,
        )
        return False
    for module in (segmentor.backbone, *decoders(segmentor)):
        module.compile(**options)
    return True


def compiler_problem(device: torch.device, options: Mapping[str, Any]) -> str | None:
    """Compiles one addition; None if that works, else in one line what went wrong."""
    program = torch.compile(lambda x: x + 1, **options)
    try:
        program(torch.ones(8, device=device))
    except Exception as error:  # each back end has exceptions of its own
        lines = [line.strip() for line in str(error).splitlines()]
        reasons = [line for line in lines if line and not line.endswith(" raised:")]
        return reasons[0] if reasons else type(error).__name__
    return None
