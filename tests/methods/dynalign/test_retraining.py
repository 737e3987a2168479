"""Retraining on aligned labels."""

from __future__ import annotations

import pytest
import torch
from nano import nano_config, nano_hrda_config, optimizer, random_batch

from mmseg_uda.engine import Supervised
from mmseg_uda.errors import UserError
from mmseg_uda.methods.dynalign import Retraining
from mmseg_uda.models.weights import atomic_save
from mmseg_uda.taxonomy import load_taxonomy_map

MAP = "idd_v5"
ROAD, CURB, SIDEWALK, AUTORICKSHAW, CAR, GUARD_RAIL, BRIDGE = 0, 13, 2, 8, 9, 16, 23


@pytest.fixture
def source(tmp_path):
    """A checkpoint of a network of 19 classes, and its weights."""
    torch.manual_seed(1)
    return save(tmp_path / "source.pth", Supervised(nano_config(19)))


def save(path, trainer):
    trainer.init_weights()
    state = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
    atomic_save({"state_dict": state}, path)
    return path, trainer.model.state_dict()


def retraining(checkpoint=None, config=None, **options):
    torch.manual_seed(2)
    checkpoint = None if checkpoint is None else str(checkpoint)
    trainer = Retraining(
        config or nano_config(26), taxonomy_map=MAP, source_checkpoint=checkpoint, **options
    )
    trainer.init_weights()
    return trainer


def test_origins_prefer_the_class_with_this_default():
    origins = load_taxonomy_map(MAP).row_origins()
    assert [origins[c] for c in (ROAD, SIDEWALK, CURB, GUARD_RAIL, AUTORICKSHAW)] == [
        0,
        1,
        1,
        4,
        13,
    ]
    assert origins[3] == 9  # sidewalk has it as a candidate, terrain as its default
    assert origins[BRIDGE] is None  # shared by all


def test_the_network_starts_from_the_source_model(source):
    path, weights = source
    trainer = retraining(path)
    own = trainer.model.state_dict()
    rows, given = own["decode_head.conv_seg.weight"], weights["decode_head.conv_seg.weight"]
    for target, origin in ((ROAD, 0), (CURB, 1), (AUTORICKSHAW, 13), (CAR, 13)):
        assert torch.equal(rows[target], given[origin])
        assert (
            own["decode_head.conv_seg.bias"][target] == weights["decode_head.conv_seg.bias"][origin]
        )
    assert not any(torch.equal(rows[BRIDGE], row) for row in given)
    for name, value in weights.items():
        if "conv_seg" not in name:
            assert torch.equal(own[name], value), name


def test_class_wise_attention_follows_the_classes(tmp_path):
    path, weights = save(tmp_path / "hrda.pth", Supervised(nano_hrda_config(19)))
    own = retraining(path, nano_hrda_config(26)).model.state_dict()
    changed = [name for name in own if own[name].shape != weights[name].shape]
    assert any("attention" in name for name in changed)
    for name in changed:
        assert torch.equal(own[name][CURB], weights[name][1]), name


def test_a_checkpoint_of_other_classes_is_refused(tmp_path):
    path, _ = save(tmp_path / "other.pth", Supervised(nano_config(16)))
    with pytest.raises(UserError, match="has 16 classes"):
        retraining(path)


def test_known_classifiers_stay(source):
    path, _ = source
    trainer = retraining(path, freeze_known=True)
    before = trainer.model.decode_head.conv_seg.weight.detach().clone()
    batch = random_batch(num_classes=26)
    wrapper = optimizer(trainer, lr=0.1)
    for _ in range(2):
        trainer.train_step(dict(source=batch["source"]), wrapper)
    after = trainer.model.decode_head.conv_seg.weight
    known = list(load_taxonomy_map(MAP).known_ids)
    new = list(load_taxonomy_map(MAP).new_ids)
    assert torch.equal(after[known], before[known])
    assert (after[new] != before[new]).any(dim=1).all()


def with_confidence(value):
    batch = random_batch(num_classes=26)["source"]
    from mmengine.structures import PixelData

    for sample in batch["data_samples"]:
        data = torch.full_like(sample.gt_sem_seg.data, 0, dtype=torch.uint8)
        data[..., :16] = value
        sample.set_data({"confidence": PixelData(data=data)})
    return batch


def loss_of(trainer, batch):
    scalars = trainer.train_step(dict(source=batch), optimizer(trainer, lr=0.0))
    return next(float(v) for name, v in scalars.items() if "loss" in name)


def test_confidence_weighs_pixels():
    def loss(value, **options):
        return loss_of(retraining(**options), with_confidence(value))

    plain = loss(255)
    assert loss(255, confidence_weights=True) == pytest.approx(plain, rel=1e-5)
    decided = loss(255, confidence_weights=True, default_weight=0.0)
    half = loss(51, confidence_weights=True, default_weight=0.0)  # 0.2
    assert half == pytest.approx(0.2 * decided, rel=1e-5)
    rest = loss(0, confidence_weights=True, default_weight=0.5)
    assert rest == pytest.approx(0.5 * plain, rel=1e-5)


def test_weights_need_confidence():
    trainer = retraining(confidence_weights=True)
    with pytest.raises(UserError, match="no confidence"):
        trainer.train_step(random_batch(num_classes=26), optimizer(trainer))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(config=nano_config(19)), "19 classes, the target taxonomy of 'idd_v5' 26"),
        (dict(freeze_known=True), "source_checkpoint"),
        (dict(default_weight=2), "default_weight"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(UserError, match=message):
        retraining(**options)
