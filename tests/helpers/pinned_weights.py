"""Networks with the pinned weights of tests/golden, and reference networks by key file."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from mmseg.registry import MODELS

import mmseg_uda.models  # noqa: F401
from mmseg_uda.models.reference_config import from_reference_config
from mmseg_uda.models.weights import from_reference_names

GOLDEN = Path(__file__).parents[1] / "golden"


def pinned_tensor(name, shape):
    """The value that the golden runs give to the parameter ``name`` (published name)."""
    seed = zlib.crc32(name.encode()) & 0x7FFFFFFF
    x = np.random.RandomState(seed).standard_normal(shape)
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    if name.endswith("running_var"):
        x = 1 + 0.1 * np.abs(x)
    elif name.endswith("running_mean"):
        x = 0.1 * x
    elif len(shape) <= 1:
        x = 1 + 0.1 * x if name.endswith("weight") else 0.1 * x
    else:
        x = x / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(x, dtype=np.float32))


def reference_case(case):
    """Network config and {name: shape} of the student in a reference checkpoint."""
    data = json.loads((GOLDEN / f"{case}.keys.json").read_text())
    shapes = {name.removeprefix("model."): shape for name, shape in data["keys"].items()}
    return data["model"]["net"], shapes


def build_reference(case, pinned=True, **changes):
    """Build the network of a key file, in eval mode, filled with pinned weights."""
    net, shapes = reference_case(case)
    model = MODELS.build(from_reference_config({**net, **changes}))
    if pinned:
        state = {name: pinned_tensor(name, shape) for name, shape in shapes.items()}
        model.load_state_dict(from_reference_names(model, state))
    return model.eval()
