"""Four whole training steps against the reference implementation's numbers."""

import json

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from pinned_random import PinnedRandom
from pinned_weights import GOLDEN, pinned_tensor, reference_case

import mmseg_uda.datasets
import mmseg_uda.methods  # noqa: F401
from mmseg_uda.engine import ReferenceNameConstructor
from mmseg_uda.models.reference_config import from_reference_config
from mmseg_uda.models.weights import from_reference_names, to_reference_names
from mmseg_uda.self_training import SelfTraining


def step_batch(t, grid=(5, 28)):
    cells, edge = grid
    draw = np.random.RandomState
    source = draw(100 + t).standard_normal((2, 3, 128, 128)).astype(np.float32)
    target = draw(300 + t).standard_normal((2, 3, 128, 128)).astype(np.float32)
    label = draw(200 + t).randint(0, 20, (2, cells, cells))
    label[label == 19] = 255
    label = label.repeat(edge, 1).repeat(edge, 2)[:, :128, :128]

    def samples(with_label):
        result = []
        for i in range(2):
            sample = SegDataSample()
            if with_label:
                sample.gt_sem_seg = PixelData(data=torch.from_numpy(label[i][None]))
            result.append(sample)
        return result

    return {
        "source": dict(inputs=list(torch.from_numpy(source)), data_samples=samples(True)),
        "target": dict(inputs=list(torch.from_numpy(target)), data_samples=samples(False)),
    }


def fill(module, segmentor, prefix=""):
    names = to_reference_names(segmentor, segmentor.state_dict())
    pinned = {k: pinned_tensor(prefix + k, tuple(v.shape)) for k, v in names.items()}
    module.load_state_dict(
        {
            k: v
            for k, v in from_reference_names(segmentor, pinned).items()
            if k in module.state_dict()
        }
    )


def golden_trainer():
    segmentor = from_reference_config(reference_case("daformer")[0])
    segmentor["backbone"]["drop_path_rate"] = 0.0
    segmentor["decode_head"]["dropout_ratio"] = 0.0
    segmentor["data_preprocessor"] = dict(
        type="DomainDataPreProcessor", mean=[0, 0, 0], std=[1, 1, 1], size=(128, 128)
    )
    trainer = SelfTraining(
        segmentor,
        alpha=0.999,
        pseudo_threshold=0.125,
        feature_distance=dict(type="FeatureDistance", min_ratio=0.5),
    )
    trainer.random = PinnedRandom()
    fill(trainer.model, trainer.model)
    fill(trainer.ema_model, trainer.model)
    fill(trainer.components["feature_distance"].reference.network, trainer.model, "imnet.")
    return trainer.train()


def golden_optimizer(trainer):
    return ReferenceNameConstructor(
        dict(
            type="StepOptimWrapper",
            optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
        ),
        dict(custom_keys={"head": dict(lr_mult=10.0), "norm": dict(decay_mult=0.0)}),
    )(trainer)


@pytest.fixture(scope="module")
def run():
    golden = json.loads((GOLDEN / "steps_daformer.json").read_text())
    trainer = golden_trainer()
    optimizer = golden_optimizer(trainer)
    shares = []
    label_target = trainer.label_target

    def spy(ctx, target):
        pseudo = label_target(ctx, target)
        shares.append(pseudo.share[0].item())
        return pseudo

    trainer.label_target = spy
    logs = [
        {k: float(v) for k, v in trainer.train_step(step_batch(t), optimizer).items()}
        for t in range(golden["iters"])
    ]
    return golden, trainer, logs, shares


@pytest.mark.parametrize("t", range(4))
def test_logged_scalars(run, t):
    golden, _, logs, _ = run
    tolerance = 1e-4 if t == 0 else 2e-3
    assert logs[t].keys() == golden["logs"][t].keys()
    for name, expected in golden["logs"][t].items():
        assert logs[t][name] == pytest.approx(expected, rel=tolerance), name


def test_confidence_share(run):
    golden, _, _, shares = run
    assert shares == pytest.approx(golden["confidence_share"], rel=2e-3)


@pytest.mark.parametrize("part", ["student", "teacher"])
def test_parameters_after_the_last_step(run, part):
    golden, trainer, _, _ = run
    network = trainer.model if part == "student" else trainer.ema_model
    state = to_reference_names(network, network.state_dict())
    for name, (_, squares) in golden[part].items():
        assert state[name].double().pow(2).sum().item() == pytest.approx(squares, rel=1e-3), name
