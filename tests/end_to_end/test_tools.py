"""The command-line tools on the tiny world."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

pytestmark = pytest.mark.slow


def train_once(world, job, folder, label="MIC + CSI", **changes):
    config = job(
        label,
        **{
            "train_cfg.max_iters": 2,
            "train_cfg.val_interval": 2,
            "default_hooks.checkpoint.interval": 2,
            "uda.target_start": 0,
            **changes,
        },
    )
    done = world.forked("tools/train.py", config, "--work-dir", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return config, folder / "iter_2.pth"


def test_original_test_command(world, job, tmp_path):
    owners = ("uda.relabel", "uda.relabel.detector")
    models = {f"{owner}.classifier.checkpoint": str(world.clip) for owner in owners}
    config, checkpoint = train_once(world, job, tmp_path / "run", **models)
    cfg = Config.fromfile(config)
    cfg.work_dir = str(tmp_path / "run")
    # Nothing of the training may be touched: its data are gone, its models cannot be built.
    cfg.train_dataloader.dataset.source.data_root = "nowhere"
    cfg.uda.relabel.detector.classifier.checkpoint = "nowhere"
    cfg.dump(config)
    done = world.python(
        "tools/test.py",
        config,
        checkpoint,
        "--cfg-options",
        "default_hooks.visualization.interval=1",
        "default_hooks.visualization.mode_prefix=False",
        "uda.mask_mode=None",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    evaluation = json.loads((tmp_path / "run" / "evaluations.json").read_text())[-1]
    assert f"mIoU: {evaluation['mIoU']:.2f}" in done.stdout
    pictures = sorted((tmp_path / "run" / "preds").glob("*.png"))
    assert len(pictures) == 3
    picture = Image.open(pictures[0])
    assert picture.mode == "P" and picture.size == (256, 128)
    assert picture.getpalette()[:3] == [128, 64, 128]  # road


def test_train_id_pngs_and_inference_modes(world, job, tmp_path):
    config, checkpoint = train_once(world, job, tmp_path / "run", "HRDA")
    labels = {}
    for mode in (["--sequential-slide"], [], ["--inference-mode", "whole"], ["--teacher"]):
        out = tmp_path / "_".join(["out", *mode])
        arguments = ["--out", out, "--work-dir", tmp_path / "test", *mode]
        done = world.forked("tools/test.py", config, checkpoint, *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        labels[tuple(mode)] = [np.asarray(Image.open(p)) for p in sorted(out.glob("*.png"))]
    sequential, batched = labels[("--sequential-slide",)], labels[()]
    assert len(batched) == 3 and batched[0].shape == (128, 256) and batched[0].max() < 19
    assert all(np.array_equal(a, b) for a, b in zip(sequential, batched, strict=True))


@pytest.mark.parametrize(
    "spoil, words",
    [
        ("network", ["a checkpoint of another network"]),
        ("pickle", ["not weights"]),
        ("truncated", ["is damaged"]),
        ("missing", ["no such weights"]),
        ("config", ["There is no config"]),
    ],
)
def test_bad_input_to_the_test_tool(world, job, tmp_path, spoil, words):
    config, checkpoint = job("DAFormer"), tmp_path / "weights.pth"
    if spoil == "network":
        torch.save(dict(state_dict={"model.backbone.layer.weight": torch.zeros(3)}), checkpoint)
    elif spoil == "pickle":
        torch.save(dict(state_dict=print), checkpoint)
    elif spoil == "truncated":
        torch.save(dict(state_dict={"a": torch.zeros(1000)}), checkpoint)
        checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    elif spoil == "config":
        config = tmp_path / "absent.py"
    done = world.forked("tools/test.py", config, checkpoint, "--work-dir", tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert any(word in done.stderr for word in words), done.stderr


def test_another_taxonomy(world, job, tmp_path):
    """Six classes made out of the nineteen: head, sampling, metric and mixing follow."""
    taxonomy = tmp_path / "six.yaml"
    names = ["ground", "building", "object", "nature", "human", "vehicle"]
    taxonomy.write_text(
        json.dumps(
            dict(
                name="six",
                classes=[
                    dict(name=n, color=[40 * i, 10, 10], group=n, prompts=[n])
                    for i, n in enumerate(names)
                ],
            )
        )
    )
    groups = [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 255, 4, 4, 5, 5, 5, 5, 5, 5]
    label_map = dict(enumerate(groups))
    changes = {
        "train_dataloader.dataset.source.taxonomy": str(taxonomy),
        "train_dataloader.dataset.target.taxonomy": str(taxonomy),
        "train_dataloader.dataset.source.label_map": label_map,
        "val_dataloader.dataset.taxonomy": str(taxonomy),
        "val_dataloader.dataset.label_map": label_map,
        "val_evaluator": dict(type="StreamingIoU", taxonomy=str(taxonomy)),
        "test_dataloader.dataset.taxonomy": str(taxonomy),
        "test_dataloader.dataset.label_map": label_map,
        "test_evaluator": dict(type="StreamingIoU", taxonomy=str(taxonomy)),
        "model.decode_head.num_classes": 6,
        "uda.taxonomy": str(taxonomy),
        "uda.feature_distance.classes": ["object", "human", "vehicle"],
    }
    _, checkpoint = train_once(world, job, tmp_path / "run", "DAFormer", **changes)
    evaluation = json.loads((tmp_path / "run" / "evaluations.json").read_text())[-1]
    assert list(evaluation["IoU"]) == names
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert state["model.decode_head.conv_seg.weight"].shape[0] == 6
