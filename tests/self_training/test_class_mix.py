"""Which classes are pasted, and what a mixed image holds."""

import pytest
import torch

from mmseg_uda.engine.records import Normalization
from mmseg_uda.self_training import PseudoLabels, SourceBatch, StepRandom, TargetBatch
from mmseg_uda.self_training.class_mix import choose_half, class_mask, mix, present_ids

UNIT = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))


@pytest.mark.parametrize("present, chosen", zip(range(1, 9), [1, 1, 2, 2, 3, 3, 4, 4], strict=True))
def test_half_of_the_classes_is_chosen(present, chosen):
    mask = torch.zeros(2, 20, dtype=torch.bool)
    mask[:, 3 : 3 + present] = True
    for step in range(5):
        random = StepRandom(step)
        taken = choose_half(mask, random.class_ranks(2, 20, mask.device))
        assert taken.sum(dim=1).tolist() == [chosen, chosen]
        assert not (taken & ~mask).any()


def test_every_class_is_chosen_equally_often():
    present = torch.zeros(1, 6, dtype=torch.bool)
    present[:, [0, 2, 3, 5]] = True
    counts = torch.zeros(6)
    for step in range(2000):
        counts += choose_half(present, ranks_of_step(step))[0]
    assert counts[[1, 4]].sum() == 0
    assert (counts[[0, 2, 3, 5]] / 2000).tolist() == pytest.approx([0.5] * 4, abs=0.05)


def ranks_of_step(step):
    random = StepRandom(7)
    random.begin_step(step)
    return random.class_ranks(1, 6, torch.device("cpu"))


def test_class_pool():
    ids = torch.tensor([[[0, 1]], [[2, 2]]])
    assert present_ids(ids, 4, "batch").tolist() == [[True, True, True, False]] * 2
    assert present_ids(ids, 4, "per_image").tolist() == [
        [True, True, False, False],
        [False, False, True, False],
    ]


def batches():
    source = SourceBatch(torch.full((1, 3, 2, 2), 1.0), torch.tensor([[[0, 1], [255, 1]]]), UNIT)
    target = TargetBatch(torch.full((1, 3, 2, 2), 2.0), None, UNIT)
    label = torch.full((1, 2, 2), 7)
    weight = torch.full((1, 2, 2), 0.375)
    pseudo = PseudoLabels(label, weight, weight > 0, weight[:, 0, 0], weight)
    return source, target, pseudo


def test_mixed_values():
    source, target, pseudo = batches()
    ids = torch.tensor([[[0, 1], [2, 1]]])  # 2 stands for the ignore index
    chosen = torch.tensor([[False, True, True]])
    mixed = mix(source, target, pseudo, class_mask(ids, chosen))
    assert mixed.label.tolist() == [[[7, 1], [255, 1]]]
    assert mixed.weight.tolist() == [[[0.375, 1.0], [1.0, 1.0]]]
    assert mixed.image[0, 0].tolist() == [[2.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("everything", [True, False])
def test_all_classes_give_the_source_and_none_the_target(everything):
    source, target, pseudo = batches()
    mixed = mix(source, target, pseudo, torch.full((1, 2, 2), everything))
    assert torch.equal(mixed.image, source.image if everything else target.image)
    assert torch.equal(mixed.label, source.label if everything else pseudo.label)
