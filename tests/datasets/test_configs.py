"""The fragments of configs/_base_/domains: geometry, labels, order of transforms; they load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, TRANSFORMS
from tiny_data import write_image, write_label

FOLDER = Path(__file__).parents[2] / "configs/_base_/domains"
# Width and height at half and at native resolution.
SCALES = {
    "gta": ((1280, 720), (2560, 1440)),
    "synthia": ((1280, 760), (2560, 1520)),
    "cityscapes": ((1024, 512), (2048, 1024)),
    "acdc": ((960, 540), (1920, 1080)),
    "darkzurich": ((960, 540), (1920, 1080)),
}
# Without those of domain generalization: test_unseen_configs.py.
FILES = {name: Config.fromfile(FOLDER / f"{name}.py") for name in SCALES}
ROLES = ("source", "target", "val", "test")
FRAGMENTS = {
    name: (domain, part)
    for domain, file in FILES.items()
    for name, part in file.items()
    if name.partition("_")[0] in ROLES
}
TRAINING = [name for name in FRAGMENTS if name.startswith(("source", "target"))]


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


def test_every_domain_has_what_the_benchmarks_use():
    kinds = {name: {key.partition("_")[0] for key in file} for name, file in FILES.items()}
    assert kinds["gta"] >= {"source"} and kinds["synthia"] >= {"source"}
    assert kinds["cityscapes"] >= {"source", "target", "val"}
    assert kinds["acdc"] >= {"source", "target", "val", "test"}
    assert kinds["darkzurich"] >= {"target", "val", "test"}
    for name in FRAGMENTS:  # each at both resolutions
        other = name.replace("HR", "") if "HR" in name else f"{name}HR"
        assert other in FRAGMENTS or name.endswith(("_depth", "_cut"))


@pytest.mark.parametrize("name", FRAGMENTS)
def test_scales_and_crops(name):
    domain, part = FRAGMENTS[name]
    native = "HR" in name
    assert step(part.pipeline, "ResizeFields")["scale"] == SCALES[domain][native]
    if name in TRAINING:
        crop = step(part.pipeline, "CropFields")
        assert crop["crop_size"] == ((1024, 1024) if native else (512, 512))
        assert crop.get("cat_max_ratio") == (0.75 if name.startswith("source") else None)
    else:
        order = names(part.pipeline)
        assert order.index("LoadTrainIds") > order.index("ResizeFields")


@pytest.mark.parametrize("name", TRAINING)
def test_order_of_the_transforms(name):
    _, part = FRAGMENTS[name]
    # CDDA's depth has a test of its own.
    steps = {t["type"]: t for t in part.pipeline if "Depth" not in t["type"]}
    second = "MarkValid" if name.startswith("target") else "LoadTrainIds"
    order = ["LoadFrame", second, "ResizeFields", "CropFields", "FlipFields"]
    order += ["PhotoMetricDistortion"] if "CAug" in name else []
    assert list(steps) == [*order, "PackFields"]
    assert steps["FlipFields"] == dict(type="FlipFields", prob=0.5)
    assert steps["ResizeFields"].get("keep_ratio", True)
    distortion = steps.get("PhotoMetricDistortion")
    assert not distortion or distortion == dict(type="PhotoMetricDistortion")


def test_photometric_distortion_has_the_published_strengths():
    """They are mmseg's defaults, so the configs do not repeat them."""
    transform = TRANSFORMS.build(dict(type="PhotoMetricDistortion"))
    assert (transform.brightness_delta, transform.hue_delta) == (32, 18)
    for name in ("contrast", "saturation"):
        limits = (getattr(transform, f"{name}_{end}") for end in ("lower", "upper"))
        assert tuple(limits) == (0.5, 1.5)


@pytest.mark.parametrize("name", [n for n in FRAGMENTS if n.startswith(("target", "test"))])
def test_targets_and_test_images_use_no_labels(name):
    assert FRAGMENTS[name][1].images_only


@pytest.mark.parametrize("name", FRAGMENTS)
def test_every_fragment_builds_and_loads(name, data_root, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data_root))
    part = dict(FRAGMENTS[name][1])
    if "crop_pseudo_margins" in part:  # of full-size images
        part["crop_pseudo_margins"] = [1, 1, 1, 1]
    dataset = DATASETS.build(part)
    assert len(dataset) == 1
    item = dataset[0]
    if name in TRAINING:
        assert tuple(item["inputs"].shape[1:]) <= (1024, 1024)
    elif name.startswith("val"):
        assert item["data_samples"].gt_sem_seg.data.shape == (1, 36, 64)


@pytest.mark.parametrize("resolution", ["", "HR"])
def test_depth_comes_after_the_resize(resolution, data_root, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data_root))
    without = FILES["cityscapes"][f"target_cityscapes{resolution}"]
    with_depth = FILES["cityscapes"][f"target_cityscapes{resolution}_depth"]
    pipeline = list(with_depth.pipeline)
    loader = step(pipeline, "LoadRemappedDepth")
    assert pipeline.pop(names(pipeline).index("ResizeFields") + 1) == loader
    assert dict(with_depth, pipeline=pipeline) == dict(without)
    assert loader.get("remap") == "exp" and loader.get("rate") == 6.0
    target = DATASETS.build(dict(with_depth, crop_pseudo_margins=None))[0]
    assert target["data_samples"].gt_depth_map.data.shape[1:] == target["inputs"].shape[1:]


def test_gta16_is_a_remap(data_root, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data_root))
    dataset = DATASETS.build(FRAGMENTS["source_gta16"][1])
    present = set(dataset[0]["data_samples"].gt_sem_seg.data.unique().tolist())
    assert not present & {9, 14, 16}
