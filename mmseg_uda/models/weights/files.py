"""Reading weight files without running code from them."""

from __future__ import annotations

import importlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmseg_uda.archives import DamagedError, check_archive, seal
from mmseg_uda.errors import UserError
from mmseg_uda.files import replacing
from mmseg_uda.regular_files import require_file

PICKLES = (b"\x80", b"P")
"""First byte of what torch.save writes: a pickle, or an archive (PK) of one."""


def read_file(path: str | Path) -> dict[str, Any]:
    """Loads a checkpoint or bare weights onto the CPU, as data only.

    The check sums of the file are compared first; ``torch.load`` takes wrong numbers as they are.

    Args:
        path: A ``torch.save`` file, or ``.safetensors``.

    Raises:
        UserError: The file is missing, damaged, or holds objects that are no weights.
    """
    path = Path(path)
    require_file(path, f"no such weights: {path}", fix="Check the path.")
    try:
        check_archive(path)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = _load_as_data(path)
    except DamagedError as error:
        raise UserError(
            f"{path} is damaged: {error}",
            fix="Copy or download the file again, or use another one.",
        ) from error
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            begins = file.read(1)
        if begins not in PICKLES:
            raise UserError(
                f"{path} cannot be read as weights: torch.save has not written it.",
                fix="Give a checkpoint, .pth or .safetensors.",
            ) from error
        raise no_weights(path, error) from error
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as weights: {_first_line(error)}",
            fix="Copy or download the file again; it may be truncated.",
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path} holds a {type(content).__name__}, not weights.",
            fix="Give a checkpoint or a state dict.",
        )
    return dict(content)


def no_weights(source: str | Path, error: pickle.UnpicklingError) -> UserError:
    """What to say of a pickle that would run code."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    culprit = f": it refers to {found[1]}" if found else ", or a damaged one"
    fix = "Use a file that holds tensors and plain containers only; it is never executed."
    if str(source).endswith(".ckpt"):
        # as Lightning writes them, with objects of the training beside the weights
        fix += (
            " Where it was written, torch.save({'state_dict': torch.load(FILE, "
            "weights_only=False)['state_dict']}, NEW) makes one."
        )
    return UserError(f"{source} is a pickle that is not weights{culprit}", fix=fix)


class _LogHistory:
    """Stands in for mmengine's log buffers, which lie beside the weights of its checkpoints."""


def _no_method(owner: Any, name: str) -> None:
    """Stands in for ``getattr``, by which those buffers name their methods."""


def _load_as_data(path: Path) -> Any:
    """``torch.load`` of tensors and containers; mmengine's log buffers become empty objects."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        with harmless_globals():
            return torch.load(path, map_location="cpu", weights_only=True)


def harmless_globals() -> Any:
    """Context in which ``torch.load`` of weights accepts numbers of numpy and log buffers."""
    return torch.serialization.safe_globals(_harmless_globals())


def _harmless_globals() -> list[Any]:
    home = "numpy._core" if hasattr(np, "_core") else "numpy.core"  # numpy 2 moved it
    multiarray = importlib.import_module(f"{home}.multiarray")
    allowed: list[Any] = [
        (_LogHistory, "mmengine.logging.history_buffer.HistoryBuffer"),
        (_no_method, "builtins.getattr"),
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
    ]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed += [
            (multiarray.scalar, f"{module}.scalar"),
            (multiarray._reconstruct, f"{module}._reconstruct"),
        ]
    return allowed + [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?")]


def state_dict_of(checkpoint: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Finds the weights in a checkpoint, without wrappers' ``module.`` prefix.

    Args:
        checkpoint: A checkpoint with ``state_dict`` or ``model``, or a bare state dict.
        source: Name of the checkpoint in errors.

    Raises:
        UserError: There are no tensors.
    """
    state: Any = checkpoint
    for key in ("state_dict", "model"):
        if isinstance(checkpoint.get(key), Mapping):
            state = checkpoint[key]
            break
    weights = {
        str(name).removeprefix("module."): value
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    if not weights:
        raise UserError(f"{source} holds no weights.", fix="Give a checkpoint or a state dict.")
    return weights


def meta_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a checkpoint says about itself; empty where it says nothing."""
    meta = checkpoint.get("meta")
    return meta if isinstance(meta, Mapping) else {}


def atomic_save(content: Any, path: str | Path) -> None:
    """``torch.save`` through a temporary file, so that ``path`` is whole or absent, and sealed."""
    with replacing(Path(path)) as temporary:
        torch.save(content, temporary)
        with temporary.open("r+b") as file:
            seal(file)


def coverage_problems(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> dict[str, list[str]]:
    """Compares names and shapes.

    Returns:
        Lists ``missing``, ``unexpected`` and ``shape``; batch counters of norm layers, which
        old files lack, are never missing.
    """
    return {
        "missing": [
            name
            for name in expected
            if name not in given and not name.endswith("num_batches_tracked")
        ],
        "unexpected": [name for name in given if name not in expected],
        "shape": [
            f"{name}: {tuple(given[name].shape)} in the file, {tuple(value.shape)} in the network"
            for name, value in expected.items()
            if name in given and given[name].shape != value.shape
        ],
    }


def describe_problems(problems: Mapping[str, list[str]], examples: int = 3) -> str:
    """One line per kind of problem, with the first names."""
    lines = []
    for kind, names in problems.items():
        if names:
            more = ", …" if len(names) > examples else ""
            lines.append(f"{len(names)} {kind}: {', '.join(names[:examples])}{more}")
    return "\n  ".join(lines)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
