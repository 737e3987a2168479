"""The data configs of domain generalization: they load, in the published geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, METRICS
from tiny_data import write_image, write_label

import mmseg_uda.datasets
import mmseg_uda.evaluation  # noqa: F401

CONFIGS = Path(__file__).parents[2] / "configs"
FOLDER = CONFIGS / "srha"

# Target -> (size of the file, size that is scored), (height, width).
SIZES = {
    "cityscapes": ((1024, 2048), (1024, 2048)),
    "bdd100k": ((720, 1280), (720, 1280)),
    "mapillary": ((1200, 900), (1536, 1536)),
    "synthia": ((760, 1280), (760, 1280)),
    "gta": ((1046, 1914), (1052, 1914)),
}
TARGETS = {
    "srha_r50-os16_b8-60k_gta2cbm": ["cityscapes", "bdd100k", "mapillary"],
    "srha_r50-os16_b8-120k_city2bsg": ["bdd100k", "synthia", "gta"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """One image of each data set at full size, of one colour and one class."""
    root = tmp_path_factory.mktemp("data")
    files = {
        "gta/images/00001.png": "gta/labels/00001_labelTrainIds.png",
        "synthia/RGB/0000001.png": "synthia/GT/LABELS/0000001_labelTrainIds.png",
        "bdd100k/images/10k/val/a.jpg": "bdd100k/labels/sem_seg/masks/val/a.png",
        "mapillary/validation/images/a.jpg": "mapillary/validation/v1.2/labels/a.png",
    }
    for split in ("train", "val"):
        image = f"cityscapes/leftImg8bit/{split}/x/x_leftImg8bit.png"
        files[image] = f"cityscapes/gtFine/{split}/x/x_gtFine_labelTrainIds.png"
    for image, label in files.items():
        name = image.partition("/")[0]
        write_image(root / image, *SIZES[name][0])
        write_label(root / label, np.full(SIZES[name][0], 55 if name == "mapillary" else 13))
    for name, frame in (("gta", "00001"), ("synthia", "0000001")):
        for split in ("train", "val"):
            (root / name / "splits").mkdir(exist_ok=True)
            (root / name / "splits" / f"{split}.txt").write_text(f"{frame}\n")
    return root


@pytest.mark.parametrize("name", TARGETS)
def test_targets_are_scored_as_the_protocol_says(name, data, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data))
    config = Config.fromfile(FOLDER / f"{name}.py")
    assert config.test_dataloader == config.val_dataloader
    METRICS.build(config.val_evaluator)
    dataset = DATASETS.build(config.val_dataloader.dataset)
    assert list(dataset.metainfo["targets"].items()) == [(t, 1) for t in TARGETS[name]]
    for index, target in enumerate(TARGETS[name]):
        item = dataset[index]
        sample = item["data_samples"]
        scored = SIZES[target][1]
        assert sample.target == target
        assert tuple(item["inputs"].shape[1:]) == scored
        assert tuple(sample.gt_sem_seg.data.shape[1:]) == sample.ori_shape == scored
        found = set(sample.gt_sem_seg.data.unique().tolist())
        assert found == ({13, 255} if target == "mapillary" else {13})


@pytest.mark.parametrize("name", TARGETS)
def test_training_crops(name, data, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data))
    config = Config.fromfile(FOLDER / f"{name}.py")
    dataset = DATASETS.build(config.train_dataloader.dataset)
    for position in range(4):
        item = dataset[0, position]["source"]
        assert tuple(item["inputs"].shape) == (3, 768, 768)
        assert {13} <= set(item["data_samples"].gt_sem_seg.data.unique().tolist()) <= {13, 255}
    steps = [step.type for step in config.train_dataloader.dataset.source.pipeline]
    assert steps[2:6] == [
        *("RandomScaleCrop", "FlipFields", "RandomColorJitter", "RandomGaussianBlur")
    ]


# Target -> size of the image that the network sees; labels keep their own.
SOMA = {"cityscapes": (1024, 2048), "bdd100k": (720, 1280), "mapillary": (1365, 1024)}
REIN = {"cityscapes": (512, 1024), "bdd100k": (720, 1280), "mapillary": (683, 512)}
ADAPTERS = {
    "gta2cbm_soma_dinov2-l": (SOMA, 512),
    "gtasyn2cbm_soma_dinov2-l": (SOMA, 512),
    "gta2cbm_rein_dinov2-l": (REIN, 512),
    "cs2bm_soma_dinov2-l": ({t: SOMA[t] for t in ("bdd100k", "mapillary")}, 512),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_see_sources_at_many_scales_and_targets_at_theirs(name, data, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(data))
    config = Config.fromfile(CONFIGS / "vfm" / f"{name}.py")
    sizes, crop = ADAPTERS[name]
    targets = DATASETS.build(config.val_dataloader.dataset)
    assert list(targets.metainfo["targets"]) == list(sizes)
    for item, (target, size) in zip(targets, sizes.items(), strict=True):
        assert tuple(item["inputs"].shape[1:]) == size
        assert tuple(item["data_samples"].gt_sem_seg.data.shape[1:]) == SIZES[target][0]
    pairs = DATASETS.build(config.train_dataloader.dataset)
    assert len(pairs) == (2 if name.startswith("gtasyn") else 1)
    for position in range(3):
        item = pairs[0, position]
        assert set(item) == {"source"}
        shape = item["source"]["inputs"].shape
        assert all(side <= crop for side in shape[1:]) and max(shape[1:]) == crop
