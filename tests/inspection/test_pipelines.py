"""Pipelines that cannot make the samples that are needed."""

import pytest

import mmseg_uda.datasets.transforms as transforms
from mmseg_uda.datasets.transforms.diagnosis import LoadDiagnosisLabel
from mmseg_uda.findings import Level
from mmseg_uda.inspection import inspect_config
from mmseg_uda.inspection.pipelines import KNOWN


def steps(*names):
    return dict(pipeline=[dict(type=name) for name in names])


@pytest.mark.parametrize(
    ("part", "names", "message"),
    [
        ("source", ("LoadFrame", "PackFields"), "pipeline does not load them"),
        ("source", ("LoadFrame", "PhotoMetricDistortion", "PackFields"), "does not load them"),
        ("source", ("LoadFrame", "RandomCrop", "PackSegInputs"), "does not load them"),
        ("source", ("LoadTrainIds", "PackFields"), "loads no image"),
        ("source", ("ResizeFields", "LoadFrame", "LoadTrainIds", "PackFields"), "before LoadFrame"),
        ("source", ("LoadFrame", "LoadTrainIds"), "does not pack"),
        ("source", ("LoadFrame", "LoadTrainIds", "PackFields", "FlipFields"), "behind PackFields"),
        ("source", (), "no pipeline"),
        ("target", ("MarkValid", "PackFields"), "loads no image"),
        ("target", ("LoadFrame", "ResizeFields", "MarkValid", "PackFields"), "before MarkValid"),
        ("val", ("LoadFrame", "PackFields"), "pipeline does not load them"),
        ("val", ("LoadFrame", "LoadTrainIds", "ResizeFields", "PackFields"), "would be resized"),
    ],
)
def test_what_is_missing_is_named(world, part, names, message):
    ((level, text),) = [
        (f.level, str(f)) for f in inspect_config(world.config(**{part: steps(*names)}))
    ]
    key = "val_dataloader.dataset" if part == "val" else f"train_dataloader.dataset.{part}"
    assert level is Level.PROBLEM and text.startswith(key) and message in text


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("target", ("LoadFrame", "PackFields")),
        ("val", ("LoadFrame", "LoadTrainIds", "ResizeToScore", "PackFields")),
        ("source", ("LoadMyFrames", "PackFields")),  # a transform that is not ours may do anything
        ("source", ("LoadImageFromFile", "LoadAnnotations", "PackSegInputs")),
    ],
)
def test_sound_ones(world, part, names):
    assert inspect_config(world.config(**{part: steps(*names)})) == []


def test_validation_without_labels(world):
    config = world.config(val=dict(images_only=True))
    (finding,) = inspect_config(config)
    assert "val_dataloader.dataset: it is used without labels" in finding.message
    config["val_evaluator"].update(format_only=True, output_dir="preds")
    assert inspect_config(config) == []


def test_every_transform_of_ours_is_known():
    ours = {name for name in transforms.__all__ if name[0].isupper()}
    assert {*ours, LoadDiagnosisLabel.__name__} <= KNOWN
