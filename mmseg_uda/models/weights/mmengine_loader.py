"""mmengine's loader of weights, by which stock networks are initialised, reads data only.

``init_cfg=dict(type='Pretrained', checkpoint=...)`` of a stock network goes through it. On its own
it unpickles whatever is no plain weights.
"""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.runner import CheckpointLoader

from mmseg_uda.models.weights.files import harmless_globals, no_weights, read_file
from mmseg_uda.models.weights.finite import require_finite, tensors_in

# torch's switches: the first overrules weights_only=False anywhere, the second objects to it.
WEIGHTS_ONLY, ANYTHING = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def read_weights_as_data() -> None:
    """Replaces mmengine's loaders of files, addresses and named weights."""
    for prefix, loader in list(CheckpointLoader._schemes.items()):
        ours = load_from_local if prefix == "" else _data_only(loader)
        CheckpointLoader.register_scheme(prefix, ours, force=True)


def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Reads a file onto the CPU; who asks for it copies it to where it belongs."""
    content = read_file(Path(filename).expanduser())
    require_finite(tensors_in(content), filename)
    return content


def _data_only(loader: Callable) -> Callable:
    @functools.wraps(loader)
    def load(filename: str, *args: Any, **kwargs: Any) -> Any:
        try:
            with _weights_only(), harmless_globals():
                return loader(filename, *args, **kwargs)
        except pickle.UnpicklingError as error:
            raise no_weights(filename, error) from error

    return load


@contextmanager
def _weights_only() -> Iterator[None]:
    before = {name: os.environ.pop(name, None) for name in (WEIGHTS_ONLY, ANYTHING)}
    os.environ[WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        del os.environ[WEIGHTS_ONLY]
        os.environ.update({name: value for name, value in before.items() if value is not None})


read_weights_as_data()
