"""VFM-UDA++'s feature distillation against the published numbers, and in the step."""

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from nano import nano_config, optimizer, random_batch
from vfm import golden, tensors, vfm_uda_network, vit

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.errors import UserError
from mmseg_uda.methods.vfm import FeatureDistillation, distillation_loss
from mmseg_uda.methods.vfm.feature_distillation import projector
from mmseg_uda.self_training import SelfTraining

DISTILLATION = dict(type="FeatureDistillation", teacher=vit(), teacher_size=42)


def trainer(segmentor=None, **options):
    torch.manual_seed(0)
    network = ConfigDict(segmentor or vfm_uda_network(8, 2, 2, 5))
    host = SelfTraining(network, distillation={**DISTILLATION, **options}, seed=3)
    host.init_weights()
    return host.train()


def test_projector_and_loss_are_the_published_ones():
    data = golden("plusplus")
    component = FeatureDistillation()
    component.feat_project = projector(8, 12)
    component.load_state_dict(tensors(data, "distill/w/"), strict=False)
    projected = component.project(torch.from_numpy(data["distill/x"]), torch.Size((7, 7)))
    assert np.abs(projected.detach().numpy() - data["distill/projected"]).max() < 2e-5
    loss = distillation_loss(projected, torch.from_numpy(data["distill/target"]))
    assert loss.item() == pytest.approx(float(data["distill/loss"]), rel=1e-4)


def test_both_domains_teach_student_and_projector():
    host = trainer()
    component = host.components["distillation"]
    wrapper = optimizer(host)
    optimized = {id(p) for g in wrapper.optimizer.param_groups for p in g["params"]}
    assert {id(p) for p in component.feat_project.parameters()} <= optimized
    before = [p.clone() for p in component.feat_project.parameters()]
    log = host.train_step(random_batch(0, 2, (64, 64), 5), wrapper)
    assert {"distill.loss_source", "distill.loss_target"} <= log.keys()
    for one, other in zip(component.feat_project.parameters(), before, strict=True):
        assert not torch.equal(one, other)
    names = [name for name in host.state_dict() if name.startswith("components.distillation")]
    assert not any("reference" in name for name in names) and len(names) == 7


def test_the_weight_is_a_factor():
    losses = {}
    for weight in (0.1, 0.2):
        host = trainer(loss_weight=weight)
        log = host.train_step(random_batch(0, 2, (64, 64), 5), optimizer(host))
        losses[weight] = log["distill.loss_target"].item()
    assert losses[0.2] == pytest.approx(2 * losses[0.1])


@pytest.mark.parametrize(
    ("segmentor", "options", "told"),
    [
        (None, dict(teacher=dict(type="NanoBackbone")), "teacher is a NanoBackbone"),
        (nano_config(), {}, "in_channels is not given"),
        (None, dict(teacher_size=0), "teacher_size=0"),
    ],
)
def test_refused(segmentor, options, told):
    with pytest.raises(UserError, match=told):
        trainer(segmentor, **options)
