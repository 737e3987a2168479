"""The two configs of docs/own_data.md train on drawn data."""

import re
import sys
from pathlib import Path

import pytest
from harbour import write_pairs

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.config_file import load_config
from mmseg_uda.engine.runner import build_runner
from mmseg_uda.experiments.profiles_networks import scale_network
from mmseg_uda.inspection import inspect_start
from mmseg_uda.miniworld.shipped import shipped_recipe, unpack

PAGE = (Path(__file__).parents[2] / "docs/own_data.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.S))
STEPS = 2


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the page's files, and data where they look for them."""
    for name, text in FILES.items():
        text = text.replace("(1024, 512), (512, 512)", "(96, 64), (64, 64)")
        (tmp_path / name).write_text(text, encoding="utf-8")
    data = tmp_path / "data"
    write_pairs(data / "renderings", "images/{j}/{i}_rgb.jpg", "labels/{j}/{i}_ids.png")
    write_pairs(data / "photographs", "{i}.jpg", "", first=100)
    write_pairs(data / "checked", "images/{i}.jpg", "labels/{i}.png", first=200, count=2)
    gta = "labels/{i:05d}_labelTrainIds.png"
    write_pairs(data / "gta", "images/{i:05d}.png", gta, count=20, change=lambda ids: ids % 19)
    write_pairs(data / "mine", "pictures/{i}.jpg", "", first=300)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def small(name, folder):
    """The config of a file, with the package's small network and few steps."""
    config = load_config(name)
    model = config.model.to_dict()
    scale_network(model, lambda size: (64, 64))
    config.model = model
    weights = folder / "nano_backbone.pth"
    unpack(weights.stem, shipped_recipe(weights.stem), weights)
    config.model.backbone.init_cfg.checkpoint = str(weights)
    config.work_dir = str(folder / "run")
    config.train_cfg.max_iters = config.train_cfg.val_interval = STEPS
    config.default_hooks.logger.interval = 1
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if config[loader]:
            config[loader].update(num_workers=0, persistent_workers=False)
    return config


def warnings_for(config):
    return [str(f) for f in inspect_start([config]) if f.level.value in ("warning", "problem")]


def test_source_target_validation_taxonomy_and_rcs(project):
    config = small("harbour", project)
    assert warnings_for(config) == []
    assert config.model.decode_head.num_classes == 3
    runner = build_runner(config)
    runner.train()
    dataset = runner.train_dataloader.dataset
    assert sorted(dataset.rare_class_sampling.classes) == [0, 1, 2]
    assert dataset.metainfo["classes"] == ("water", "ship", "quay")
    assert "feature_distance" in runner.model.components
    assert runner.message_hub.get_scalar("val/mIoU_solid").current() >= 0
    assert runner.iter == STEPS


def test_pictures_alone(project):
    config = small("gta2mine", project)
    told = [text for text in warnings_for(config) if "has a pixel of" not in text]
    assert told == []  # beside the classes that are not drawn
    data = config.train_dataloader.dataset
    data.rare_class_sampling.min_pixels = 50
    published, own = (
        {one.type: one for one in part.pipeline} for part in (data.source, data.target)
    )
    assert published["CropFields"].crop_size == (512, 512)
    published["ResizeFields"].scale = own["ResizeFields"].scale
    published["CropFields"].crop_size = own["CropFields"].crop_size
    runner = build_runner(config)
    runner.train()
    assert runner.iter == STEPS and not any("val" in k for k in runner.message_hub.log_scalars)
