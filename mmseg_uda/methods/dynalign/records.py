"""Files of the stages: arrays with the fingerprint of what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_uda.archives import read_arrays
from mmseg_uda.errors import UserError
from mmseg_uda.files import replacing

FINGERPRINT = "fingerprint"


def fingerprint(**parts: Any) -> str:
    """A value that changes when any part does; parts are what JSON can hold."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def file_digest(path: Path) -> str:
    """Names the content of a file; read once per process as long as it does not change.

    Raises:
        OSError: The file cannot be read.
    """
    state = path.stat()
    return _digest(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1 << 17)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    digest = hashlib.blake2b(digest_size=12)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_record(path: Path, mark: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as a compressed npz file atomically; equal arrays give equal bytes.

    Args:
        path: File to write.
        mark: Fingerprint of everything that the arrays depend on.
        arrays: By name.
    """
    content: dict[str, Any] = {FINGERPRINT: np.array(mark), **arrays}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **content)


def stored_fingerprint(path: Path) -> str | None:
    """The fingerprint of a record; None where there is none that can be read."""
    try:
        return str(read_arrays(path)[FINGERPRINT])
    except Exception:  # zip and npy readers raise many kinds on a damaged file
        return None


def read_record(path: Path, mark: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a record.

    Args:
        path: As :func:`write_record` was given.
        mark: Fingerprint that is expected; None takes any.

    Raises:
        UserError: The file is missing, damaged, or was made from something else.
    """
    try:
        found = read_arrays(path)
        stored = str(found.pop(FINGERPRINT))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing.", fix="Run the stage that writes it.") from error
    except Exception as error:
        raise UserError(
            f"{path} cannot be read: {error}", fix="Run the stage that writes it again."
        ) from error
    if mark is not None and stored != mark:
        raise UserError(
            f"{path} was made with other settings.",
            fix=f"Run the stage {path.parent.name} with the same settings as this one.",
        )
    return found
