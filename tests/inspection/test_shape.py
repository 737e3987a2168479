"""Parts of a config that are of another type than their readers expect."""

import pytest

from mmseg_uda.inspection import inspect_config, inspect_start


def put(config, key, value):
    *path, last = key.split(".")
    for name in path:
        config = config[name]
    config[last] = value


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("model", "EncoderDecoder", "dict"),
        ("uda", ["SelfTraining"], "dict"),
        ("val_dataloader", [{}], "dict"),
        ("val_evaluator", "mIoU", "dict"),
        ("train_dataloader.dataset", "GTA", "dict"),
        ("train_dataloader.dataset.source", ["GTA", "SYNTHIA"], "dict"),
        ("train_dataloader.dataset.rare_class_sampling", True, "dict"),
        ("train_dataloader.dataset.source.pipeline", "load", "list"),
        ("train_dataloader.dataset.source.split", ["train", "val"], "text"),
        ("train_dataloader.dataset.source.taxonomy", {"classes": []}, "text"),
        ("train_dataloader.dataset.target.label_map", [1, 0], "name and no dict"),
    ],
)
def test_it_is_named_and_nothing_else_is_looked_at(world, key, value, wanted):
    config = world.config()
    put(config, key, value)
    (finding,) = inspect_start([config])
    assert finding.message.startswith(f"{key}=") and finding.message.endswith(f"is no {wanted}.")
    assert finding.fix


def test_steps_of_a_pipeline(world):
    (finding,) = inspect_config(world.config(source=dict(pipeline=["LoadFrame"])))
    assert finding.message == "train_dataloader.dataset.source.pipeline[0]='LoadFrame' is no dict."


def test_what_nobody_thought_of_does_not_end_a_run(world):
    (finding,) = inspect_start([world.config(source=dict(crop_pseudo_margins=7))])
    assert "options cannot be read" in finding.message or "crop_pseudo_margins" in finding.message
