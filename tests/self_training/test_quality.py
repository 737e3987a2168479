"""Measuring pseudo-labels: the numbers, and that the training does not notice."""

import pytest
import torch
from fixed_run import config
from mmengine.structures import PixelData
from nano import nano_config, optimizer, random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import build_runner
from mmseg_uda.self_training import PseudoLabelQuality, PseudoLabels, SelfTraining, TargetBatch
from mmseg_uda.self_training.component import StepContext
from mmseg_uda.self_training.quality import class_shares, overlap

CLASSES = 3


def pseudo(label, confident):
    label, confident = torch.tensor([label]), torch.tensor([confident])
    weight = torch.full(label.shape, 0.25)
    return PseudoLabels(label, confident.float(), confident, torch.ones(1), weight)


def measure(component, labels, target_label=None, draws=False):
    logged = {}
    fields = {}
    if target_label is not None:
        fields["diagnosis_label"] = torch.tensor([[target_label]], dtype=torch.uint8)
    target = TargetBatch(torch.zeros(1, 3, 1, 4), None, None, (), fields)
    ctx = StepContext(0, None, None, logged.__setitem__, draws)
    assert component.refine_weights(ctx, target, labels) is labels
    return {name: float(value) for name, value in logged.items()}, ctx.panels


@pytest.fixture
def component():
    class Host:
        taxonomy = None
        num_classes = CLASSES

    component = PseudoLabelQuality(decay=0.5)
    component.bind(Host())
    return component


LABELS = pseudo([[0, 0, 1, 2]], [[True, False, True, False]])


def test_shares_without_target_labels(component):
    logged, _ = measure(component, LABELS)
    assert logged == {
        "pseudo.confident": 0.5,
        "pseudo.weight": 0.25,
        "pseudo.share.0": 0.5,
        "pseudo.share.1": 0.25,
        "pseudo.share.2": 0.25,
    }


def test_accuracy_and_miou_leave_unlabelled_pixels_out(component):
    logged, _ = measure(component, LABELS, [[0, 1, 1, 255]])
    assert logged["pseudo.acc"] == pytest.approx(200 / 3)
    assert logged["pseudo.acc_confident"] == 100
    # Class 0: 1 of 2 pixels, class 1: 1 of 2; class 2 is predicted on an unlabelled pixel only.
    assert logged["pseudo.mIoU"] == pytest.approx(50)


def test_earlier_steps_fade(component):
    measure(component, LABELS, [[0, 0, 1, 2]])  # 4 of 4
    logged, _ = measure(component, LABELS, [[1, 1, 0, 0]])  # 0 of 4
    assert logged["pseudo.acc"] == pytest.approx(100 * 0.5 * 4 / (0.5 * 4 + 4))


def test_nothing_to_count_is_not_a_number(component):
    logged, _ = measure(component, LABELS, [[255, 255, 255, 255]])
    for name in ("pseudo.acc", "pseudo.acc_confident", "pseudo.mIoU"):
        assert logged[name] != logged[name]


def test_panels(component):
    _, panels = measure(component, LABELS, [[0, 1, 1, 255]], draws=True)
    bars, label, wrong = panels
    assert bars.series["share"].tolist() == [[0.5, 0.25, 0.25]]
    assert "diagnosis only" in label.title
    assert wrong.values[0, 0, :3].tolist() == [0, 1, 0]
    assert wrong.values[0, 0, 3].isnan()


def test_counts_agree_with_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randint(0, CLASSES, (2, 5, 6), generator=generator)
    label = torch.randint(0, CLASSES + 1, (2, 5, 6), generator=generator)
    label[label == CLASSES] = 255
    intersection, union = overlap(prediction, label, CLASSES)
    for c in range(CLASSES):
        a, b = (prediction == c) & (label != 255), label == c
        assert intersection[c] == (a & b).sum()
        assert union[c] == (a | b).sum()
    shares = class_shares(prediction, CLASSES)
    assert torch.allclose(shares.sum(dim=1), torch.ones(2))
    assert shares[1, 2] == (prediction[1] == 2).float().mean()


def states(steps=3, with_labels=False, **options):
    torch.manual_seed(0)
    trainer = SelfTraining(nano_config(), pseudo_threshold=0.2, **options)
    trainer.init_weights()
    trainer.train()
    wrapper = optimizer(trainer)
    for step in range(steps):
        batch = random_batch(step)
        if with_labels:
            for sample in batch["target"]["data_samples"]:
                label = torch.randint(0, 5, (1, 32, 32)).to(torch.uint8)
                sample.set_data({"diagnosis_label": PixelData(data=label)})
        log = trainer.train_step(batch, wrapper)
    return trainer.state_dict(), log


def test_a_training_has_the_same_numbers_with_and_without_target_labels():
    plain, log = states()
    assert not any(name.startswith("pseudo.") for name in log)
    measured, log = states(with_labels=True, diagnosis=dict(type="PseudoLabelQuality"))
    assert 0 < log["pseudo.mIoU"] < 100
    assert plain.keys() == measured.keys()  # no checkpoint holds the counts
    for name, value in plain.items():
        assert torch.equal(value, measured[name]), name


def test_scalars_stay_on_the_device_as_tensors():
    _, log = states(1, with_labels=True, diagnosis=dict(type="PseudoLabelQuality"))
    named = {n: v for n, v in log.items() if n.startswith("pseudo.")}
    assert len(named) == 2 + 5 + 3
    assert all(isinstance(v, torch.Tensor) and v.dim() == 0 for v in named.values())


def test_class_names_come_from_the_taxonomy():
    torch.manual_seed(0)
    trainer = SelfTraining(
        nano_config(num_classes=19),
        taxonomy="cityscapes19",
        diagnosis=dict(type="PseudoLabelQuality"),
    )
    assert trainer.components["diagnosis"].names[:2] == ("road", "sidewalk")


def test_without_a_taxonomy_class_names_come_from_the_data(tmp_path):
    cfg = config(tmp_path, 2, **{"uda.diagnosis": dict(type="PseudoLabelQuality")})
    runner = build_runner(cfg)
    runner.train()
    assert runner.model.components["diagnosis"].names == ("a", "b", "c", "d", "e")
    (log,) = tmp_path.glob("*/vis_data/scalars.json")
    assert "pseudo.share.e" in log.read_text()
