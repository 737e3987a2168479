"""Order and settings of the transforms of every training pipeline."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

import mmseg_uda.datasets  # noqa: F401

FOLDER = Path(__file__).parents[2] / "configs/_base_/datasets"
# Training for unseen domains has a pipeline of its own: test_unseen_configs.py.
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if "_unseen_" not in path.stem)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_transforms(name):
    data = Config.fromfile(FOLDER / f"{name}.py").train_dataloader.dataset
    for domain in ("source", "target") if "target" in data else ("source",):
        # Maps beyond image and label (CDDA's depth) are treated by tests of their own.
        steps = {t["type"]: t for t in data[domain].pipeline if "Depth" not in t["type"]}
        second = "MarkValid" if data[domain].get("images_only") else "LoadTrainIds"
        order = ["LoadFrame", second, "ResizeFields", "CropFields", "FlipFields"]
        distortion = steps.get("PhotoMetricDistortion")
        order += ["PhotoMetricDistortion"] if distortion else []
        assert list(steps) == [*order, "PackFields"]
        assert steps["FlipFields"] == dict(type="FlipFields", prob=0.5)
        assert steps["ResizeFields"].get("keep_ratio", True)
        assert not distortion or distortion == dict(type="PhotoMetricDistortion")


def test_photometric_distortion_has_the_published_strengths():
    """They are mmseg's defaults, so the configs do not repeat them."""
    transform = TRANSFORMS.build(dict(type="PhotoMetricDistortion"))
    assert (transform.brightness_delta, transform.hue_delta) == (32, 18)
    for name in ("contrast", "saturation"):
        limits = (getattr(transform, f"{name}_{end}") for end in ("lower", "upper"))
        assert tuple(limits) == (0.5, 1.5)
