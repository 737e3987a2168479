"""Every row of every table builds: network, trainer with its components, pipelines, schedule."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.runner import wrap_model
from mmseg_uda.experiments.plan import Options, plan
from mmseg_uda.inspection import inspect_config
from mmseg_uda.models.views import training_forward
from mmseg_uda.taxonomy import load_taxonomy, load_taxonomy_map
from mmseg_uda.taxonomy.needs import parts_of

HOSTS = ("DAFormer", "HRDA", "MIC")


@pytest.mark.parametrize("profile", ["paper", "mini"])
def test_every_row_builds(tables, tmp_path, profile):
    """What rows share is built once: data and schedule, a network, a trainer around a network.

    The networks of papers are built whole. Trainers take them with few layers: each way of training
    once, and in the hosts' tables once with each network that a row trains so.
    """
    options = Options(profile=profile, work_dir=tmp_path)
    built = set()

    def new(*parts):
        known = repr(parts) in built
        built.add(repr(parts))
        return not known

    # Photographs have no miniature.
    chosen = [one for one in tables if profile == "paper" or one.paper != "Real images"]
    for experiment in map(options.table, chosen):
        for one in plan(experiment, experiment.jobs(seeds=[0]), options):
            if not one.trains:
                continue
            config = Config(one.resolved)
            if new(config.train_dataloader, config.val_dataloader, config.param_scheduler):
                assert inspect_config(one.resolved) == []
                build_data_and_schedule(config)
            every = profile == "paper" and experiment.paper in HOSTS
            network = new(config.model)
            trainer = new(config.model if every else config.model.type, config.uda)
            config.model.backbone.init_cfg = None
            if profile == "paper":
                if network:
                    build(config.model, "meta")
                if trainer:
                    few_layers(config.model.backbone)
                    build(wrap_model(config).model, "meta")
            elif network or trainer:
                model = build(wrap_model(config).model if trainer else config.model, "cpu")
                if network:
                    take_a_crop(model, config)
    assert len(built) > 8


def build(config, device):
    """A network of a paper gets no memory: its size would not fit a test."""
    with torch.device(device):
        return MODELS.build(config)


def few_layers(backbone):
    """The same kind of encoder, much smaller."""
    if backbone.type == "MiT":
        backbone.num_layers = (1, 1, 1, 1)
    elif backbone.type == "TimmViT":
        taken = backbone.get("out_indices") or (0,)
        backbone.arch_options = dict(depth=taken[-1] + 1)
    elif backbone.type in ("ResNetV1c", "ResNeXt", "ResNeSt"):
        backbone.depth = 50


def take_a_crop(model, config):
    """Sizes of network and crops fit each other."""
    image = torch.randn(2, 3, *config.model.data_preprocessor.size)
    network = getattr(model, "model", model)
    with torch.no_grad():
        output = training_forward(network, image, lambda rows, columns: (rows - 1, 0))
    assert output.logits[0].logits.shape[:2] == (2, network.num_classes)


def taxonomy_of(part):
    """The label space of a data set."""
    if part.type == "AlignedDataset":
        return load_taxonomy_map(part.get("taxonomy_map", "mapillary_v5")).target
    return part.get("taxonomy", "cityscapes19")


def data_sets(part):
    """The data sets inside a wrapper's config, and inside wrappers in it.

    Images to which aligned labels are made have labels of another kind and no pipeline here.
    """
    inner = [] if part.type == "AlignedDataset" else parts_of(part)
    return [one for each in inner for one in data_sets(each)] if inner else [part]


def build_data_and_schedule(config):
    data = config.train_dataloader.dataset
    evaluated = config.val_dataloader.dataset
    for part in (*data_sets(data), *data_sets(evaluated)):
        assert len(load_taxonomy(taxonomy_of(part))) == config.model.decode_head.num_classes
        for transform in part.pipeline:
            TRANSFORMS.build(transform)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = config.param_scheduler
    schedules = schedule.values() if isinstance(schedule, dict) else [schedule]
    for scheduler in (one for each in schedules for one in each):
        PARAM_SCHEDULERS.build({**scheduler, "optimizer": optimizer})
