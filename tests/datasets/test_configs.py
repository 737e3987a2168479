from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, METRICS
from tiny_data import write_image, write_label

import mmseg_uda.datasets
import mmseg_uda.evaluation  # noqa: F401

FOLDER = Path(__file__).parents[2] / "configs/_base_/datasets"
# Those of domain generalization: test_unseen_configs.py.
CONFIGS = sorted(p.stem for p in FOLDER.glob("*.py") if "_unseen_" not in p.stem)

# (source scale, target scale, evaluation scale, crop)
PAIRS = {
    "uda_gta_to_cityscapes_512x512": ((1280, 720), (1024, 512), (1024, 512), 512),
    "uda_synthia_to_cityscapes_512x512": ((1280, 760), (1024, 512), (1024, 512), 512),
    "uda_gta16_to_cityscapes_512x512": ((1280, 720), (1024, 512), (1024, 512), 512),
    "uda_cityscapes_to_acdc_512x512": ((1024, 512), (960, 540), (960, 540), 512),
    "uda_cityscapes_to_darkzurich_512x512": ((1024, 512), (960, 540), (960, 540), 512),
    "uda_synthia_to_acdc_512x512": ((1280, 760), (960, 540), (960, 540), 512),
    "uda_gtaHR_to_cityscapesHR_1024x1024": ((2560, 1440), (2048, 1024), (2048, 1024), 1024),
    "uda_synthiaHR_to_cityscapesHR_1024x1024": ((2560, 1520), (2048, 1024), (2048, 1024), 1024),
    "uda_gta16HR_to_cityscapesHR_1024x1024": ((2560, 1440), (2048, 1024), (2048, 1024), 1024),
    "uda_cityscapesHR_to_acdcHR_1024x1024": ((2048, 1024), (1920, 1080), (1920, 1080), 1024),
    "uda_cityscapesHR_to_darkzurichHR_1024x1024": ((2048, 1024), (1920, 1080), (1920, 1080), 1024),
    "uda_synthiaHR_to_acdcHR_1024x1024": ((2560, 1520), (1920, 1080), (1920, 1080), 1024),
    "uda_gtaCAug_to_cityscapes_512x512": ((1280, 720), (1024, 512), (1024, 512), 512),
    "uda_gtaCAugHR_to_cityscapesHR_1024x1024": ((2560, 1440), (2048, 1024), (2048, 1024), 1024),
    "uda_cityscapes_to_cityscapes_512x512": ((1024, 512), (1024, 512), (1024, 512), 512),
    "uda_cityscapesCAug_to_cityscapesCAug_512x512": ((1024, 512), (1024, 512), (1024, 512), 512),
}
# CDDA's pairs add depth and change nothing else.
WITH_DEPTH = [
    f"uda_{source}{resolution}"
    for source in ("gta", "synthia")
    for resolution in ("_to_cityscapes_512x512", "HR_to_cityscapesHR_1024x1024")
]
SCALES = {
    **PAIRS,
    **{f"{name}_depth": PAIRS[name] for name in WITH_DEPTH},
    "gtaHR_to_cityscapesHR_1024x1024": ((2560, 1440), None, (2048, 1024), 1024),
    "gta_to_cityscapes_512x512": ((1280, 720), None, (1024, 512), 512),
    "gta16_to_cityscapes_512x512": ((1280, 720), None, (1024, 512), 512),
    "synthia_to_cityscapes_512x512": ((1280, 760), None, (1024, 512), 512),
    "synthia_to_acdc_512x512": ((1280, 760), None, (960, 540), 512),
    "cityscapes_to_acdc_512x512": ((1024, 512), None, (960, 540), 512),
    "acdc_512x512": ((960, 540), None, (960, 540), 512),
    "cityscapes_to_darkzurich_512x512": ((1024, 512), None, (960, 540), 512),
    **{f"cityscapes_{c}x{c}": ((1024, 512), None, (1024, 512), c) for c in (128, 256, 384, 512)},
    **{
        f"cityscapesHR_{c}x{c}": ((2048, 1024), None, (2048, 1024), c)
        for c in (256, 512, 768, 1024)
    },
}


def step(pipeline, name):
    (found,) = [transform for transform in pipeline if transform["type"] == name]
    return found


def names(pipeline):
    return [transform["type"] for transform in pipeline]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """One frame per split of every data set, in the original layouts, 64 pixels wide."""
    root = tmp_path_factory.mktemp("data")
    frames = {
        "gta": [("images/00001.png", "labels/00001_labelTrainIds.png")],
        "synthia": [("RGB/0000000.png", "GT/LABELS/0000000_labelTrainIds.png")],
        "cityscapes": [
            (f"leftImg8bit/{s}/c/c_0_leftImg8bit.png", f"gtFine/{s}/c/c_0_gtFine_labelTrainIds.png")
            for s in ("train", "val")
        ],
        "acdc": [
            (f"rgb_anon/{s}/a_rgb_anon.png", f"gt/{s}/a_gt_labelTrainIds.png")
            for s in ("train", "val", "test")
        ],
        "dark_zurich": [
            (f"rgb_anon/{s}/G/a_rgb_anon.png", f"gt/{s}/G/a_gt_labelTrainIds.png")
            for s in ("train/night", "val", "test")
        ],
    }
    for city in ("train", "val"):
        depth = root / f"cityscapes/depth_any/{city}/c/c_0_depth.png"
        write_label(depth, np.tile(np.arange(64), (36, 1)))
    for name, files in frames.items():
        for image, label in files:
            write_image(root / name / image, 36, 64)
            if "train/night" not in label and "test" not in label:
                write_label(root / name / label, np.tile(np.arange(64) // 4, (36, 1)))
    return root


def test_every_config_is_in_the_table():
    assert set(SCALES) == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_scales_and_crops(name):
    cfg = Config.fromfile(FOLDER / f"{name}.py")
    source_scale, target_scale, eval_scale, crop = SCALES[name]
    data = cfg.train_dataloader.dataset
    assert step(data.source.pipeline, "ResizeFields")["scale"] == source_scale
    source_crop = step(data.source.pipeline, "CropFields")
    assert source_crop["crop_size"] == cfg.crop_size == (crop, crop)
    assert source_crop["cat_max_ratio"] == 0.75
    if target_scale is None:
        assert "target" not in data
    else:
        assert step(data.target.pipeline, "ResizeFields")["scale"] == target_scale
        assert step(data.target.pipeline, "CropFields")["crop_size"] == (crop, crop)
    evaluation = cfg.val_dataloader.dataset.pipeline
    assert step(evaluation, "ResizeFields")["scale"] == eval_scale
    assert names(evaluation).index("LoadTrainIds") > names(evaluation).index("ResizeFields")


@pytest.mark.parametrize("name", [n for n in CONFIGS if n.startswith("uda_")])
def test_targets_use_no_labels(name):
    """But for the supervised pair, which is no adaptation."""
    target = Config.fromfile(FOLDER / f"{name}.py").train_dataloader.dataset.target
    supervised = name.count("cityscapes") == 2
    assert target.get("images_only", False) is not supervised
    assert ("LoadTrainIds" in names(target.pipeline)) is supervised
    assert ("cat_max_ratio" in step(target.pipeline, "CropFields")) is supervised


@pytest.mark.parametrize("name", CONFIGS)
def test_photometric_distortion_only_where_listed(name):
    data = Config.fromfile(FOLDER / f"{name}.py").train_dataloader.dataset
    distorted = "CAug" in name or not name.startswith("uda_")
    assert ("PhotoMetricDistortion" in names(data.source.pipeline)) is distorted


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_builds_and_loads(name, data_root, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data_root))
    cfg = Config.fromfile(FOLDER / f"{name}.py")
    item = DATASETS.build(cfg.train_dataloader.dataset)[0, 0]
    for domain in item.values():
        assert domain["inputs"].shape[1:] <= cfg.crop_size
    assert len(DATASETS.build(cfg.test_dataloader.dataset)) == 1
    validation = DATASETS.build(cfg.val_dataloader.dataset)[0]
    assert validation["data_samples"].gt_sem_seg.data.shape == (1, 36, 64)
    METRICS.build(cfg.val_evaluator)


@pytest.mark.parametrize("name", WITH_DEPTH)
def test_depth_comes_after_the_resize(name, data_root, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data_root))
    with_depth = Config.fromfile(FOLDER / f"{name}_depth.py").train_dataloader.dataset
    without = Config.fromfile(FOLDER / f"{name}.py").train_dataloader.dataset
    pipeline = list(with_depth.target.pipeline)
    loader = step(pipeline, "LoadRemappedDepth")
    assert pipeline.pop(names(pipeline).index("ResizeFields") + 1) == loader
    assert pipeline == without.target.pipeline and with_depth.source == without.source
    assert loader.get("remap") == "exp" and loader.get("rate") == 6.0
    target = DATASETS.build(with_depth)[0, 0]["target"]
    assert target["data_samples"].gt_depth_map.data.shape[1:] == target["inputs"].shape[1:]


def test_gta16_is_a_remap(data_root, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data_root))
    cfg = Config.fromfile(FOLDER / "uda_gta16_to_cityscapes_512x512.py")
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    present = set(dataset[0, 0]["source"]["data_samples"].gt_sem_seg.data.unique().tolist())
    assert not present & {9, 14, 16}
