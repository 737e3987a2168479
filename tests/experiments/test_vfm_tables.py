"""The tables of foundation-model backbones: published values, and a step of every mini row."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from nano import random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import ReferenceNameConstructor
from mmseg_uda.engine.runner import wrap_model
from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.plan import Options, plan

METHODS = {"relabel", "depth"}  # need banks and detectors; their own tests step them


def rows(tables, tmp_path, number):
    options = Options(profile="mini", work_dir=tmp_path)
    experiment = options.table(find_experiment(tables, number))
    return plan(experiment, experiment.jobs(seeds=[0]), options)


@pytest.mark.parametrize("number", [700, 703, 705, 706, 710, 711, 712])
def test_mini_rows_step(tables, tmp_path, number, tiny_vit):
    seen = set()
    for one in rows(tables, tmp_path, number):
        config = Config(one.resolved)
        parts = repr((config.model, config.uda, config.optim_wrapper))
        if parts in seen or METHODS & {k for k, v in config.uda.items() if v}:
            continue
        seen.add(parts)
        adapts = config.uda.type == "SelfTraining" and not config.uda.get("source_only")
        if adapts:
            config.uda.target_start = 0
        trainer = MODELS.build(wrap_model(config).model)
        trainer.init_weights()
        wrapper = dict(config.optim_wrapper)
        wrapper.pop("constructor")
        paramwise = wrapper.pop("paramwise_cfg")
        optimizer = ReferenceNameConstructor(wrapper, paramwise)(trainer)
        batch = random_batch(0, 2, tuple(config.model.data_preprocessor.size), 19)
        log = trainer.train().train_step(batch, optimizer)
        assert all(torch.isfinite(torch.as_tensor(v)) for v in log.values()), one.job.row.label
        assert ("mix.decode.loss_seg" in log) == adapts
        assert ("masked.decode.loss_seg" in log) == bool(config.uda.get("masking"))
    assert len(seen) >= 2


def test_it_says_what_was_published():
    config = plain_config("vfm/gta2cs_vfmuda_dinov2-l")
    data = config["train_dataloader"]["dataset"]
    resize = {part: data[part]["pipeline"][2] for part in ("source", "target")}
    assert resize["source"]["short_side"] == 1440 and resize["target"]["short_side"] == 1024
    assert resize["source"]["factor"] == (0.9, 1.1)
    assert data["target"]["pipeline"][1]["shares"] == (0.03, 0.25, 0.03, 0.03)
    crops = [data[part]["pipeline"][3] for part in ("source", "target")]
    assert [crop.get("cat_max_ratio", 1.0) for crop in crops] == [0.75, 1.0]
    assert data["rare_class_sampling"] == dict(min_pixels=3000, class_temp=0.05, min_crop_ratio=2.0)
    wrapper = config["optim_wrapper"]
    assert wrapper["optimizer"]["lr"] == pytest.approx(5e-5 * 8**0.5, rel=1e-7)
    assert wrapper["optimizer"]["weight_decay"] == 0.01
    assert wrapper["paramwise_cfg"] == dict(layer_decay=dict(multiplier=0.1, decay=1.0))
    assert config["param_scheduler"] == [
        dict(type="WarmupLinear", warmup=1500, start=1e-3, total=40000)
    ]
    assert config["train_dataloader"]["batch_size"] == 2


def test_source_only_has_both_published_rates(tables):
    experiment = find_experiment(tables, 700)
    rates = {}
    for row in experiment.rows:
        uda, wrapper = row.resolved["uda"], row.resolved["optim_wrapper"]
        rates[row.label] = wrapper["paramwise_cfg"]["layer_decay"]["multiplier"]
        assert uda.get("source_only", False) == ("only" in row.label)
        assert bool(uda["masking"]) == ("only" not in row.label)
        assert uda["weak_jitter"]["probability"] == 0.9
    assert sorted(rates.values()) == [0.01] * 4 + [0.1] * 6
    assert len({row.stem for row in experiment.rows}) == len(experiment.rows)


def test_other_methods_keep_their_average_of_the_loss(tables):
    for row in find_experiment(tables, 706).rows:
        own = plain_config(row.config)["model"]["decode_head"]["loss_decode"]
        loss = row.resolved["model"]["decode_head"]["loss_decode"]
        assert loss["avg_non_ignore"] == own["avg_non_ignore"] == (row.label == "CSI"), row.label
