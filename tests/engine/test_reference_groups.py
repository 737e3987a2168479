"""Learning rate and weight decay of every parameter of every published network, by its name."""

import pytest
import torch
from mmengine.config import Config
from pinned_weights import build_reference, reference_case

from mmseg_uda.engine import ReferenceNameConstructor
from mmseg_uda.models.weights import to_reference_names


def expected(name):
    """What the published runs give to a published parameter name."""
    if "head" in name:
        return 6e-4, 0.01
    return 6e-5, 0.0 if "norm" in name else 0.01


def numbered(network):
    """{published name: index of our parameter that holds its values}."""
    state = {name: torch.full_like(value, -1.0) for name, value in network.state_dict().items()}
    for index, (name, _) in enumerate(network.named_parameters()):
        state[name] = torch.full_like(state[name], float(index))
    values = to_reference_names(network, state)
    return {name: int(value.flatten()[0]) for name, value in values.items() if value.numel()}


@pytest.mark.parametrize("case", ["daformer", "hrda_daformer", "segformer", "dlv2"])
def test_settings_of_every_parameter(case):
    network = build_reference(case, pinned=False)
    cfg = Config.fromfile("configs/_base_/recipes/default.py").optim_wrapper
    cfg.pop("constructor")
    paramwise = cfg.pop("paramwise_cfg")
    optimizer = ReferenceNameConstructor(cfg, paramwise)(network).optimizer
    settings = {
        id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]
    }
    parameters = list(network.parameters())
    names = numbered(network)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    frozen = {n for n in names if n.startswith("decode_head.conv_seg.") and case == "segformer"}
    trained = [n for n in reference_case(case)[1] if not n.endswith(buffers) and n not in frozen]
    assert len(trained) > 50
    for name in trained:
        assert settings[id(parameters[names[name]])] == pytest.approx(expected(name)), name
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(
        {names[name] for name in trained}
    )
    if case == "hrda_daformer":
        assert any("scale_attention" in name and ".bn." in name for name in trained)
