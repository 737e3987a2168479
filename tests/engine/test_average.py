"""The moving average that supervised training evaluates."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import ExponentialMovingAverage
from nano import nano_config, optimizer, random_batch
from vfm import vfm_uda_network

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import Supervised
from mmseg_uda.engine.supervised import AverageOptions
from mmseg_uda.errors import UserError
from mmseg_uda.experiments import profiles_vfm, variants


def trainer(segmentor=None, **options):
    torch.manual_seed(0)
    made = Supervised(ConfigDict(segmentor or nano_config()), **options)
    made.init_weights()
    return made.train()


def test_it_is_mmengines_average():
    ours = trainer(ema=dict(momentum=0.3, begin=2))
    wrapper = optimizer(ours)
    theirs = ExponentialMovingAverage(copy.deepcopy(ours.model), momentum=0.3)
    for number in range(5):
        ours.train_step(random_batch(number), wrapper)
        if number + 1 < 2:  # as EMAHook(begin_iter=2), which copies before
            theirs.module.load_state_dict(ours.model.state_dict())
        else:
            theirs.update_parameters(ours.model)
        expected, student = theirs.module.state_dict(), ours.model.state_dict()
        for name, value in ours.ema_model.state_dict().items():
            assert torch.equal(value, expected[name]), (number, name)
        name = "decode_head.conv_seg.weight"
        assert torch.equal(student[name], expected[name]) == (number < 2)


def test_accumulated_batches_are_one_update():
    ours = trainer(ema=dict(momentum=0.25))
    wrapper = optimizer(ours, accumulative_counts=2)
    students, averages = [], []
    for number in range(4):
        ours.train_step(random_batch(number), wrapper)
        students.append(ours.model.decode_head.conv_seg.weight.detach().clone())
        averages.append(ours.ema_model.decode_head.conv_seg.weight.clone())
    assert torch.equal(averages[0], students[0])  # neither has moved
    assert torch.equal(averages[1], students[1]) and torch.equal(averages[2], students[1])
    assert torch.equal(averages[3], torch.lerp(students[1], students[3], 0.25))


def test_the_average_is_evaluated():
    for options, chosen in (({}, "model"), (dict(ema={}), "ema_model")):
        made = trainer(**options)
        assert made.evaluated is getattr(made, chosen)
        asked = []
        made.evaluated.val_step = made.evaluated.test_step = lambda data, to=asked: to.append(data)
        made.val_step("a")
        made.test_step("b")
        assert asked == ["a", "b"]


def test_it_shares_what_is_frozen():
    made = trainer(vfm_uda_network(8, 2, 2, 5, trainable="none"), ema={})
    student, average = (dict(n.named_parameters()) for n in (made.model, made.ema_model))
    shared = {name for name in student if student[name] is average[name]}
    frozen = {name for name, value in student.items() if not value.requires_grad}
    assert shared == frozen - {"backbone.mask_token"} and len(shared) > 20
    assert not any(value.requires_grad for value in average.values())


def test_shorter_trainings_begin_earlier():
    average = dict(momentum=2e-4, begin=12000)
    profiles_vfm.scale_average(average, 0.04)
    assert average == dict(momentum=pytest.approx(5e-3), begin=480)
    left_to_defaults = {}
    profiles_vfm.scale_average(left_to_defaults, 0.04)
    assert left_to_defaults == dict(momentum=AverageOptions().momentum / 0.04, begin=0)
    config = dict(train_cfg={}, train_dataloader=dict(dataset={}), uda=dict(ema=average))
    assert variants.startup(config)["uda"]["ema"]["begin"] == 0


@pytest.mark.parametrize(
    ("ema", "told"),
    [
        (dict(momentum=0), "uda.ema.momentum=0"),
        (dict(momentum=1.5), "uda.ema.momentum=1.5"),
        (dict(begin=-1), "uda.ema.begin=-1"),
        (dict(start=3), "uda.ema.start"),
        (0.999, "uda.ema=0.999"),
    ],
)
def test_refused(ema, told):
    with pytest.raises(UserError) as error:
        trainer(ema=ema)
    assert told in str(error.value)
