"""Every table of the hosts starts in miniature: two steps of each kind of training and network."""

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from nano import random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import wrap_model
from mmseg_uda.experiments.naming import decoder
from mmseg_uda.experiments.plan import Options, plan

PAPERS = ("DAFormer", "HRDA", "MIC")


def kind(config):
    """What decides how a step runs: trainer, its components, network, masks."""
    uda, model = config["uda"], config["model"]
    masking = uda.get("masking") or {}
    parts = [uda["type"], uda.get("source_only"), model["type"], bool(uda.get("feature_distance"))]
    parts += [masking.get(key) for key in ("mode", "alpha", "pseudo_threshold")]
    parts += [model.get(key) for key in ("scales", "feature_scale", "blur_hr_crop")]
    return repr([*parts, bool(model.get("neck"))])


def test_two_steps_of_every_kind(tables, tmp_path):
    options = Options(profile="mini", variant="startup", work_dir=tmp_path)
    started, decoders = {}, set()
    for experiment in (table for table in tables if table.paper in PAPERS):
        experiment = options.table(experiment)
        for one in plan(experiment, experiment.jobs(), options):
            name = decoder(one.job.row.resolved["model"])
            assert one.resolved["train_cfg"]["max_iters"] == 2
            if kind(one.resolved) in started and name in decoders:
                continue
            decoders.add(name)
            started[kind(one.resolved)] = two_steps(Config(one.resolved))
    assert len(started) >= 20 and len(decoders) == 12
    for config, logs in started.items():
        assert all(value == value and abs(value) < 1e4 for value in logs.values()), config


def two_steps(config):
    """The logged numbers of the second step of a job's config, on random images."""
    config.model.backbone.init_cfg = None
    torch.manual_seed(0)
    trainer = MODELS.build(wrap_model(config).model)
    trainer.init_weights()
    trainer.train()
    wrapper = build_optim_wrapper(trainer, config.optim_wrapper)
    size = tuple(config.model.data_preprocessor.size)
    for number in range(2):
        batch = random_batch(number, 2, size, trainer.num_classes)
        logs = trainer.train_step(batch, wrapper)
    assert int(trainer.step) == 2
    return {name: float(value) for name, value in logs.items()}
