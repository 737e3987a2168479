"""Domain generalization on a tiny world: training, all targets in one validation, resume."""

import json
import math
import shutil

import pytest
import torch
from mmengine.config import Config

import mmseg_uda.register_all  # noqa: F401
from experiments import EXPERIMENTS
from mmseg_uda.engine.runner import build_runner
from mmseg_uda.experiments.plan import Options, plan
from mmseg_uda.experiments.profiles_vfm import LEARNING_RATE
from mmseg_uda.miniworld import WorldOptions, ensure_miniworld

pytestmark = pytest.mark.slow
COUNTS = {
    "gta": {"train": 25},  # 20 after the split: one image per class and epoch
    "synthia": {"train": 2},
    "cityscapes": {"train": 1, "val": 2},
    "bdd": {"train": 1, "val": 2},
    "mapillary": {"training": 1, "validation": 1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    ensure_miniworld(
        root / "miniworld",
        weights=None,
        options=WorldOptions(counts=COUNTS),
        domains=("gta", "synthia", "cityscapes"),
        groups=("generalization",),
        workers=1,
    )
    return root


def config_of(label, folder, variant="", experiment=500):
    options = Options(profile="mini", variant=variant, work_dir=folder / "plan")
    table = options.table(next(e for e in EXPERIMENTS if e.id == experiment))
    job = next(j for j in table.jobs() if j.row.label == label)
    return Config(plan(table, [job], options)[0].resolved)


def train(folder, **changes):
    cfg = config_of("DeepLabV3+ ShuffleNetV2 + SRHA", folder)
    cfg.merge_from_dict(
        {
            "model.backbone.init_cfg": None,
            "train_cfg": dict(max_iters=4, val_interval=4),
            "train_dataloader.batch_size": 2,
            "train_dataloader.dataset.class_uniform_sampling.share": 1.0,
            "default_hooks.checkpoint": dict(interval=2, max_keep_ckpts=-1),
            "work_dir": str(folder),
            **changes,
        }
    )
    runner = build_runner(cfg)
    runner.train()
    state = torch.load(folder / "iter_4.pth", weights_only=True)["state_dict"]
    return runner, state, json.loads((folder / "evaluations.json").read_text())


def test_all_targets_are_scored_and_a_resumed_run_goes_on_as_if_nothing_had_been(
    data, tmp_path, monkeypatch
):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data))
    runner, state, (evaluation,) = train(tmp_path / "whole")
    source = runner.train_dataloader.dataset
    assert len(source.source) == 20
    # m = int(20 / 19): one image of every class, and one at random
    epoch = source.class_uniform_sampling.epoch_list(0, 0)
    assert sorted(epoch[:, 0].tolist()) == list(range(-1, 19))
    scores = [evaluation[f"{name}/mIoU"] for name in ("cityscapes", "bdd100k", "mapillary")]
    assert evaluation["mIoU"] == pytest.approx(sum(scores) / 3, abs=0.01)
    assert len(list(data.glob("miniworld/gta/centroids_*.json"))) == 1

    resumed = tmp_path / "resumed"
    resumed.mkdir()
    shutil.copy(tmp_path / "whole/iter_2.pth", resumed)
    _, again, (repeated,) = train(resumed, resume=True)
    assert [name for name in state if not torch.equal(state[name], again[name])] == []
    assert repeated == evaluation


def test_mask2former_starts_and_trains(data, tmp_path, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data))
    cfg = config_of("Mask2Former ResNet-50 + SRHA", tmp_path, "startup")
    changes = {
        "model.backbone.init_cfg": None,
        "train_dataloader.batch_size": 2,
        "work_dir": str(tmp_path),
        "train_dataloader.dataset.class_uniform_sampling.share": 1.0,
    }
    cfg.merge_from_dict(changes)
    runner = build_runner(cfg)
    before = {name: p.detach().clone() for name, p in runner.model.model.named_parameters()}
    runner.train()
    assert runner.iter == 2
    after = dict(runner.model.model.named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("backbone.layer4") for name in moved)
    assert any(name.startswith("decode_head") for name in moved)
    assert not any(name.startswith("backbone.layer0") for name in moved)


def test_hrda_trains_on_the_source_alone_and_scores_all_targets(data, tmp_path, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data))
    cfg = config_of("HRDA, detail crop 384", tmp_path, "startup", 50)
    changes = {
        "model.backbone.init_cfg": None,
        "train_cfg.val_begin": 1,
        "work_dir": str(tmp_path / "run"),
    }
    cfg.merge_from_dict(changes)
    runner = build_runner(cfg)
    runner.train()
    assert runner.iter == 2
    assert runner.model.teacher is None
    (evaluation,) = json.loads((tmp_path / "run/evaluations.json").read_text())
    scores = [evaluation[f"{name}/mIoU"] for name in ("cityscapes", "bdd100k", "mapillary")]
    assert evaluation["mIoU"] == pytest.approx(sum(scores) / 3, abs=0.01)


POLY, WARM_UP = (1 - 3 / 1599) ** 0.9, 0.01 + 0.99 * 3 / 29
FALLEN = 1e-5 + (0.05 - 1e-5) / 2 * (1 + math.cos(math.pi * 3 / 1600))
RISEN = 1e-5 - 1e-5 / 2 * (1 + math.cos(math.pi * 3 / 1600))


@pytest.mark.parametrize(
    ("experiment", "label", "rates", "decays"),
    [
        (710, "LoRA", {POLY / 2, POLY}, {RISEN, FALLEN}),
        (711, "SoMA", {WARM_UP / 2, WARM_UP}, {RISEN, FALLEN}),
        (712, "Rein", {POLY}, {0.0, 0.05}),
    ],
)
def test_foundation_models_train_as_their_recipe_says(
    data, tmp_path, monkeypatch, experiment, label, rates, decays
):
    """Rates are factors of the mini profile's after three steps, decays as published."""
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data))
    cfg = config_of(label, tmp_path, "startup", experiment)
    scored = label == "LoRA"
    changes = {
        "model.backbone.init_cfg": None,
        "train_dataloader.batch_size": 2,
        "train_cfg": dict(max_iters=3, val_interval=3, val_begin=1 if scored else 4),
        "work_dir": str(tmp_path / "run"),
        "experiment_name": label,
    }
    cfg.merge_from_dict(changes)
    runner = build_runner(cfg)
    runner.train()
    assert runner.iter == 3
    groups = runner.optim_wrapper.optimizer.param_groups
    assert {round(g["lr"] / LEARNING_RATE, 9) for g in groups} == {round(rate, 9) for rate in rates}
    found = {round(g["weight_decay"], 12) for g in groups}
    assert found == {round(decay, 12) for decay in decays}
    averaged = runner.model.evaluated is not runner.model.model
    assert averaged == ((experiment, label) in ((710, "LoRA"), (711, "SoMA")))
    if scored:
        (evaluation,) = json.loads((tmp_path / "run/evaluations.json").read_text())
        assert {"cityscapes/mIoU", "bdd100k/mIoU", "mapillary/mIoU"} <= evaluation.keys()
