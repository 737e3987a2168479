"""Every row of every table builds: network, trainer with its components, pipelines, schedule."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.runner import wrap_model
from mmseg_uda.experiments import profiles
from mmseg_uda.experiments.plan import Options, plan
from mmseg_uda.inspection import inspect_config
from mmseg_uda.taxonomy import load_taxonomy, load_taxonomy_map
from mmseg_uda.taxonomy.needs import parts_of


@pytest.mark.parametrize("profile", ["paper", "mini"])
def test_every_row_builds(tables, tmp_path, profile):
    options = Options(profile=profile, work_dir=tmp_path)
    built = set()
    for experiment in map(options.table, tables):
        for one in plan(experiment, experiment.jobs(seeds=[0]), options):
            if not one.trains:
                continue
            assert inspect_config(one.resolved) == []
            config = Config(one.resolved)
            build_data_and_schedule(config)
            network = repr((config.model, config.uda))
            if network not in built:  # tables share networks
                built.add(network)
                trainer = build_trainer(config, "meta" if profile == "paper" else "cpu")
                if profile == "mini":
                    take_a_crop(trainer)
    assert len(built) > 8


def build_trainer(config, device):
    """Paper networks get no memory: their size would not fit a test."""
    config.model.backbone.init_cfg = None
    with torch.device(device):
        return MODELS.build(wrap_model(config).model)


def take_a_crop(trainer):
    """Sizes of network and crops fit each other."""
    image = torch.randn(2, 3, *profiles.CROP)
    with torch.no_grad():
        output = trainer.forward_student(image, lambda rows, columns: (rows - 1, 0))
    assert output.logits[0].logits.shape[:2] == (2, trainer.num_classes)


def taxonomy_of(part):
    """The label space of a data set."""
    if part.type == "AlignedDataset":
        return load_taxonomy_map(part.get("taxonomy_map", "mapillary_v5")).target
    return part.get("taxonomy", "cityscapes19")


def build_data_and_schedule(config):
    data = config.train_dataloader.dataset
    evaluated = config.val_dataloader.dataset
    for part in (*parts_of(data), *(parts_of(evaluated) or [evaluated])):
        assert len(load_taxonomy(taxonomy_of(part))) == config.model.decode_head.num_classes
        for transform in part.pipeline:
            TRANSFORMS.build(transform)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    for scheduler in config.param_scheduler:
        PARAM_SCHEDULERS.build({**scheduler, "optimizer": optimizer})
