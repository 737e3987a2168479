"""Weight averages, pseudo-labels and margins."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn
from vfm import vfm_uda_network, vit

from mmseg_uda.engine.records import Normalization
from mmseg_uda.self_training import EmaTeacher, TargetBatch
from mmseg_uda.self_training.teacher import (
    batch_share,
    ema_alpha,
    image_share,
    margin_mask,
    pseudo_labels,
)

UNIT = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))


@pytest.mark.parametrize(
    "step, expected", [(1, 0.5), (2, 2 / 3), (998, 998 / 999), (999, 0.999), (40000, 0.999)]
)
def test_decay_warms_up(step, expected):
    assert ema_alpha(step, 0.999) == pytest.approx(expected, rel=1e-12)


def test_the_average_of_early_students_is_their_mean():
    student, network = nn.Linear(1, 1), nn.Linear(1, 1)
    teacher = EmaTeacher(network, 0.999)
    averages = []
    for step, value in enumerate([0.0, 1.0, 2.0, 4.0, 8.0]):
        nn.init.constant_(student.weight, value)
        teacher.update(student, step)
        averages.append(network.weight.item())
    assert averages == pytest.approx([0.0, 0.5, 1.0, 1.75, 3.0], abs=1e-6)


def test_alpha_zero_follows_the_student():
    student, network = nn.Linear(2, 2), nn.Linear(2, 2)
    teacher = EmaTeacher(network, 0.0)
    for step in range(3):
        nn.init.normal_(student.weight)
        teacher.update(student, step)
        assert torch.equal(network.weight, student.weight)


def test_batch_norm_statistics_are_not_averaged():
    student, network = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    student.running_mean.fill_(5.0)
    teacher = EmaTeacher(network, 0.999)
    for step in range(3):
        teacher.update(student, step)
    assert torch.equal(network.running_mean, torch.zeros(2))


def test_running_norm_takes_the_students_statistics():
    student, network = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    student.running_mean.fill_(5.0)
    EmaTeacher(network, 0.999, norm="running").update(student, 3)
    assert torch.equal(network.running_mean, torch.full((2,), 5.0))


def test_modes_of_a_teacher():
    from mmcv.cnn.bricks.drop import DropPath

    network = nn.Sequential(nn.Dropout2d(0.5), nn.BatchNorm2d(2), DropPath(0.5), nn.Dropout(0.1))
    teacher = EmaTeacher(network, 0.999)
    network.eval()
    teacher.set_modes()
    assert [m.training for m in network] == [False, True, False, False]
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("arch", ["vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
def test_attention_that_drops_by_its_own_mode_drops_nothing(arch):
    network = vfm_uda_network()
    options = dict(embed_dim=32, depth=2, num_heads=4, attn_drop_rate=0.5)
    network["backbone"] = vit(arch, arch_options=options)
    teacher = EmaTeacher(MODELS.build(network), 0.999)
    image = torch.randn(1, 3, 56, 56)
    assert torch.equal(teacher.logits(image), teacher.logits(image))


def test_batch_norm_that_a_network_keeps_in_eval_mode_stays_there():
    class Still(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[0].eval()
            return self

    network = Still(nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    EmaTeacher(network, 0.999).set_modes()
    assert [m.training for m in network] == [False, True]


def logits_with_maxima(maxima):
    """Two-class logits whose larger softmax probability is given; class 1 wins."""
    p = torch.tensor(maxima, dtype=torch.float64)
    # A probability below 0.5 cannot be a two-class maximum: spread the rest over 19 classes.
    rest = ((1 - p) / 18).unsqueeze(1).expand(-1, 18, -1, -1)
    probabilities = torch.cat([rest[:, :1], p.unsqueeze(1), rest[:, 1:]], dim=1)
    return probabilities.log().float()


MAXIMA = [[[0.97, 0.99], [0.5, 0.9681]], [[0.1, 0.2], [0.3, 0.4]]]


def test_confident_share_is_counted_over_the_batch():
    pseudo = pseudo_labels(logits_with_maxima(MAXIMA), 0.968, batch_share)
    assert pseudo.share.tolist() == [0.375, 0.375]
    assert torch.equal(pseudo.weight, torch.full((2, 2, 2), 0.375))
    assert torch.equal(pseudo.label, torch.ones(2, 2, 2, dtype=torch.int64))


def test_confident_share_per_image():
    pseudo = pseudo_labels(logits_with_maxima(MAXIMA), 0.968, image_share)
    assert pseudo.share.tolist() == [0.75, 0.0]


def test_the_threshold_itself_is_confident():
    logits = torch.zeros(1, 2, 1, 1)
    assert pseudo_labels(logits, 0.5, batch_share).share.item() == 1.0


def test_without_threshold_every_weight_is_one():
    pseudo = pseudo_labels(logits_with_maxima(MAXIMA), None, batch_share)
    assert torch.equal(pseudo.weight, torch.ones(2, 2, 2))


def test_margin_rows_lose_their_weight_and_keep_their_label():
    pseudo = pseudo_labels(logits_with_maxima(MAXIMA), 0.968, batch_share)
    target = TargetBatch(torch.zeros(2, 3, 2, 2), None, UNIT)
    masked = pseudo.masked(margin_mask(target, top=0, bottom=1))
    assert masked.weight[0].tolist() == [[0.375, 0.375], [0.0, 0.0]]
    assert torch.equal(masked.label, pseudo.label)


def test_margins_join_the_data_sets_mask():
    valid = torch.ones(1, 3, 2)
    valid[:, :, 1] = 0
    target = TargetBatch(torch.zeros(1, 3, 3, 2), valid, UNIT)
    assert margin_mask(target, top=1, bottom=0).tolist() == [[[0, 0], [1, 0], [1, 0]]]
