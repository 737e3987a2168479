"""Options of the host where papers and their code differ."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from nano import nano_config, optimizer, random_batch
from pinned_random import PinnedRandom

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.records import Normalization, SourceBatch, TargetBatch
from mmseg_uda.errors import UserError
from mmseg_uda.self_training import PseudoLabels, SelfTraining, StepContext, StepRandom

UNIT = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
TARGET = TargetBatch(torch.zeros(2, 3, 1, 4), None, UNIT)


def build(**options):
    torch.manual_seed(0)
    segmentor = nano_config(dropout=0.5)
    segmentor["test_cfg"] = ConfigDict(mode="whole")
    trainer = SelfTraining(segmentor, **options)
    trainer.init_weights()
    trainer.random = PinnedRandom()
    return trainer.train()


def pasted(rows, **options):
    """Where sources with these labels are pasted; of the classes the lowest half is taken."""
    label = torch.tensor(rows).view(len(rows), 1, -1)
    size = label.shape
    source = SourceBatch(torch.ones(size[0], 3, *size[1:]), label, UNIT)
    weight = torch.zeros(size)
    pseudo = PseudoLabels(torch.zeros_like(label), weight, weight > 0, weight[:, 0, 0], weight)
    target = TargetBatch(torch.zeros_like(source.image), None, UNIT)
    mixed = build(**options).compose(source, target, pseudo)
    assert torch.equal(mixed.image[:, 0], mixed.pasted.float())
    return mixed.pasted[:, 0].int().tolist()


def test_classes_of_the_batch_or_of_the_image():
    rows = [[0, 1, 0, 1], [2, 3, 2, 3]]
    assert pasted(rows) == [[1, 1, 1, 1], [0, 0, 0, 0]]
    assert pasted(rows, class_pool="per_image") == [[1, 0, 1, 0], [1, 0, 1, 0]]


def test_unlabelled_pixels_are_a_class_or_not():
    rows = [[1, 2, 255, 255]] * 2
    assert pasted(rows) == [[1, 1, 0, 0]] * 2  # two of three
    assert pasted(rows, paste_ignored=False) == [[1, 0, 0, 0]] * 2  # one of two
    assert pasted([[255] * 4] * 2) == [[1] * 4] * 2
    assert pasted([[255] * 4] * 2, paste_ignored=False) == [[0] * 4] * 2


def weights(**options):
    trainer = build(pseudo_threshold=0.5, **options)
    logits = torch.zeros(2, 5, 1, 4)
    logits[0, 3, 0, :3] = 9.0  # three sure pixels in the first image, none in the second
    trainer.teacher = SimpleNamespace(logits=lambda image: logits)
    ctx = StepContext(0, trainer.random, trainer, lambda *_: None)
    return trainer.label_target(ctx, TARGET).weight[:, 0, 0].tolist()


def test_share_of_confident_pixels_per_batch_or_image():
    assert weights() == [0.375, 0.375]
    assert weights(pseudo_share="per_image") == [0.75, 0.0]


def test_margins_apply_after_the_share_was_counted():
    trainer = build(pseudo_threshold=0.5, pseudo_weight_ignore_bottom=1)
    logits = torch.zeros(2, 5, 2, 4)
    logits[0, 3, 1, :3] = 9.0
    trainer.teacher = SimpleNamespace(logits=lambda image: logits)
    ctx = StepContext(0, trainer.random, trainer, lambda *_: None)
    target = TargetBatch(torch.zeros(2, 3, 2, 4), None, UNIT)
    pseudo = trainer.label_target(ctx, target)
    assert pseudo.weight.tolist() == [[[0.1875] * 4, [0.0] * 4]] * 2
    assert pseudo.label[0].tolist() == [[0, 0, 0, 0], [3, 3, 3, 0]]


@pytest.mark.parametrize("masked", [False, True])
def test_padding_has_no_weight(masked):
    """A target image smaller than the crop; the mask of the data set, if any, is padded with 0."""
    trainer = build(pseudo_threshold=0.0)
    seen = []
    label_target = trainer.label_target
    trainer.label_target = lambda *args: seen.append(label_target(*args)) or seen[-1]
    batch = random_batch(0)
    small = random_batch(1, size=(24, 32), valid=torch.ones(24, 32) if masked else None)
    for name in ("inputs", "data_samples"):
        batch["target"][name][1] = small["target"][name][1]
        if masked:
            batch["target"][name][0] = small["target"][name][0]
    trainer.train_step(batch, optimizer(trainer))
    weight = seen[0].weight
    assert weight[1, :24].eq(1).all() and weight[1, 24:].eq(0).all()
    assert weight[0, 24:].eq(0).all().item() is masked
    trainer.train_step(random_batch(0), optimizer(trainer))
    assert seen[1].weight.eq(1).all()


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_statistics_of_the_teacher(norm):
    trainer = build(teacher_norm=norm)
    wrapper = optimizer(trainer)
    for step in range(2):
        before = trainer.model.backbone.stem.bn.running_mean.clone()
        trainer.train_step(random_batch(step), wrapper)
    same = torch.equal(trainer.ema_model.backbone.stem.bn.running_mean, before)
    assert same is (norm == "running")
    assert trainer.ema_model.backbone.stem.bn.training is (norm == "batch")


@pytest.mark.parametrize("inference", ["student", "teacher"])
def test_who_predicts(inference):
    trainer = build(inference=inference).eval()
    with torch.no_grad():
        trainer.ema_model.decode_head.conv_seg.bias += torch.tensor([0, 0, 99.0, 0, 0])
    batch = random_batch(0)["target"]
    for sample in batch["data_samples"]:
        sample.set_metainfo(dict(ori_shape=(32, 32), img_shape=(32, 32), pad_shape=(32, 32)))
    for predict in (trainer.val_step, trainer.test_step):
        found = torch.stack([s.pred_sem_seg.data for s in predict(batch)])
        assert (found == 2).all().item() is (inference == "teacher")


def test_ranges_of_the_random_numbers():
    """Factors 1 ± 0.2 (the strength), blur 0.15 to 1.15 pixels; shared ones are equal."""
    random, cpu = StepRandom(5), torch.device("cpu")
    changes = random.jitter_factors(20_000, cpu)
    assert changes.shape == (20_000, 4)
    assert changes.min(0).values.tolist() == pytest.approx([-1] * 4, abs=1e-3)
    assert changes.max(0).values.tolist() == pytest.approx([1] * 4, abs=1e-3)
    assert changes.mean(0).tolist() == pytest.approx([0] * 4, abs=0.02)
    sigma = random.blur_sigma(20_000, False, cpu)
    found = [sigma.min().item(), sigma.mean().item(), sigma.max().item()]
    assert found == pytest.approx([0.15, 0.65, 1.15], abs=0.01)
    assert len(set(random.blur_sigma(4, True, cpu).tolist())) == 1
    assert len(set(random.jitter_orders(4, True))) == 1
    orders = random.jitter_orders(2_000, False)
    assert len(set(orders)) == 24 and all(sorted(order) == [0, 1, 2, 3] for order in orders)


def test_a_misspelled_option_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="(?s)uda.alpa is neither.*Did you mean uda.alpha?"):
        build(alpa=0.5)
