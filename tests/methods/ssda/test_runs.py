"""Resumed runs, several processes, the source's statistics, other components."""

import numpy as np
import pytest
import torch
from depth_tasks import OPEN, car_bank, component, depth_batch
from fixed_run import config
from nano import nano_config, nano_hrda_config, optimizer
from process_tasks import alone, main_job, train
from processes import together
from subdomains import Recorder, cross_entropy, subdomains
from tiny_data import write_image, write_label

from mmseg_uda.datasets import DomainPairDataset, TaxonomyDataset
from mmseg_uda.engine import build_runner
from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda import GTA_PRIOR, class_quota, seed_mask


def state_after(work_dir, steps, **changes):
    build_runner(config(work_dir, steps, **changes)).train()
    return torch.load(work_dir / f"iter_{steps}.pth", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    "options",
    [
        {"uncertainty_loss_weight": 0.5, "uncertainty_grad": True},  # draws masks for both networks
        {"uncertainty": {"source": "repeat", "passes": 2, "enable_dropout": True}},
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, options):
    changes = {"uda.subdomains": subdomains(**options), "model": nano_config(dropout=0.3)}
    whole = state_after(tmp_path / "whole", 6, **changes)
    state_after(tmp_path / "parts", 4, **changes)
    parts = state_after(tmp_path / "parts", 6, **changes)
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
    without = state_after(tmp_path / "without", 6, model=nano_config(dropout=0.3))
    assert without.keys() == whole.keys()
    assert not all(torch.equal(without[name], whole[name]) for name in whole)


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients.values()])


def test_two_processes():
    """Quotas are those of each process' own batch; gradients are averaged."""
    options = dict(subdomains=dict(type="DynamicSubdomains", target_weight=1.0))
    found = together(train, 3, options)
    for step in (0, 2):  # CSI relabels from step 2 on
        state = found[0]["states"][step]
        each = [flat(alone(state, rank, [step], options)) for rank in range(2)]
        mean = sum(each) / 2
        difference = flat(found[0]["gradients"][step]) - mean
        assert difference.norm() / mean.norm() < 1e-5
    first, second = (result["states"][3] for result in found)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    ratios = [result["logs"][0]["ssda.seed_ratio"] for result in found]
    assert ratios[0] != ratios[1]  # other images, other quotas
    assert "target.loss_crf" in found[0]["logs"][2]


@pytest.fixture
def data(tmp_path):
    """A source of two frames: 3 / 4 class 0, 1 / 4 class 3, and unlabelled pixels."""
    label = np.zeros((40, 60))
    label[:20] = 255
    for index in range(2):
        write_image(tmp_path / "rgb" / f"{index}.png")
        label[20:25] = 3
        write_label(tmp_path / "ids" / f"{index}.png", label)
    source = TaxonomyDataset(str(tmp_path), img_dir="rgb", label_dir="ids")
    return DomainPairDataset(source)


@pytest.mark.parametrize(("absent", "quota"), [("none", 0.0), ("all", 1.0)])
def test_prior_of_the_source(build, data, absent, quota):
    segmentor = nano_hrda_config(19)
    trainer = build("x", segmentor=segmentor, class_prior="source_stats", absent_class=absent)
    trainer.before_training(data)
    found = trainer.components["subdomains"].quota_by_class
    expected = class_quota([3, 1])
    assert found[[0, 3]].tolist() == pytest.approx(expected.tolist())
    assert found[1].item() == quota


def test_a_source_without_label_files_has_no_prior(build):
    trainer = build("hrda", class_prior="source_stats")
    with pytest.raises(UserError, match="source_stats.*label files"):
        trainer.before_training([0])


def test_statistics_need_the_data_set(build, step):
    with pytest.raises(UserError, match="needs the training data set"):
        step(build("hrda", class_prior="source_stats"))


def test_the_runner_shows_the_data_set(tmp_path):
    """Through mmengine's runner, before the first step."""
    changes = {
        "uda.subdomains": subdomains(class_prior="source_stats"),
        "model": nano_hrda_config(),
    }
    with pytest.raises(UserError, match="label files, not NoneType"):
        build_runner(config(tmp_path, 2, **changes)).train()


@pytest.mark.parametrize("hrda", [True, False])
def test_csi_cdda_ssda_and_mic_in_one_config(tmp_path, hrda):
    """Seeds learn the labels that CSI edited, with the weights that CDDA gave."""
    depth = component(car_bank(tmp_path / "bank"), **OPEN)
    ssda = dict(type="DynamicSubdomains", absent_class="all")
    options = dict(subdomains=ssda, depth=depth, pseudo_threshold=0.285)
    trainer = main_job(hrda=hrda, **options)
    assert list(trainer.components) == [
        "feature_distance",
        "relabel",
        "depth",
        "subdomains",
        "masking",
    ]
    record, wrapper = Recorder(trainer), optimizer(trainer)
    for step in range(3):  # CSI relabels from step 2 on
        log = trainer.train_step(depth_batch(step), wrapper)
    assert log["csi.pixels.truck"] > 0 and (record.pseudo.label == 14).any()
    assert {"target.loss_crf", "target.decode.loss_seg", "masked.decode.loss_seg"} <= log.keys()
    weights = record.pseudo.weight.unique()
    assert len(weights) > 1  # not the confidence share alone
    seeds = seed_mask(record.uncertainty, record.pseudo.label, class_quota(GTA_PRIOR, absent="all"))
    weight = record.pseudo.weight * seeds
    expected = [
        0.01 * view.weight * cross_entropy(view, record.pseudo.label, weight)
        for view in (output.logits[0] for output in record.outputs)
    ]
    found = record.losses["target.decode.loss_seg"].item()
    assert any(found == pytest.approx(value.item(), rel=1e-5) for value in expected)
