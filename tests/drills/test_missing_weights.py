"""Drill: weights that a training begins with, or first needs after hours, are not there."""

import pytest


def encoder(name):
    return {"model.backbone.init_cfg": dict(type="BackboneWeights", checkpoint=name)}


def frozen(role, **model):
    """CSI with a frozen model."""
    truck = dict(target="truck", source="car", box_score=0.1, crop_score=0.5)
    relabel = dict(type="TaxonomyRelabeling", taxonomy="cityscapes19", mapping=[truck])
    return {"uda.relabel": {**relabel, role: model}}


@pytest.mark.parametrize(
    ("changes", "title", "missing", "fix"),
    [
        (encoder("mit_b55"), "Backbone weights", "pretrained/mit_b55.pth", "did you mean 'mit_b"),
        (encoder("here/mine.pth"), "Backbone weights", " here/mine.pth", "init_cfg.checkpoint"),
        (frozen("classifier", type="OpenClip", checkpoint="./clip"), "Foundation models", "./clip",
         "Give a folder that holds config and weights"),
        (frozen("detector", type="OwlDetector", checkpoint="/none/owl"), "Foundation models",
         "/none/owl", "Give a folder that holds config and weights"),
    ],
)  # fmt: skip
def test_they_are_told_alone(world, tmp_path, command, changes, title, missing, fix):
    path = tmp_path / "job.py"
    world.config(tmp_path / "run", log_level="INFO", **changes).dump(path)
    status, output = command("tools/train.py", path, "--work-dir", tmp_path / "run")
    assert status == 2
    assert f"{title}:\n  missing: " in output and f"{missing}\n" in output and fix in output
    assert output.count("Error:") == 1 and "Fix: Get them as listed" in output
    assert "Hooks " not in output and "Config:" not in output
