from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.miniworld import WeightOptions, WorldOptions, ensure_miniworld
from mmseg_uda.miniworld.domains import DOMAINS, render

TINY = WorldOptions(seed=6, counts={"gta": {"train": 2}})


def modified(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_the_projects_converters_have_run(world, options):
    for domain, label, index in (
        ("gta", "labels/00001_labelTrainIds.png", 0),
        ("cityscapes", "gtFine/val/valdorf/valdorf_000000_000019_gtFine_labelTrainIds.png", 0),
    ):
        split = "val" if "val/" in label else "train"
        written = cv2.imread(str(world.data[domain] / label), cv2.IMREAD_UNCHANGED)
        frame = render(DOMAINS[domain], split, index, options.seed, options.strength)
        assert np.array_equal(written, frame.label)
    synthia = world.data["synthia"]
    written = cv2.imread(str(synthia / "GT/LABELS/0000001_labelTrainIds.png"), -1)
    assert not np.isin(written, (9, 14, 16)).any()
    for domain in ("gta", "synthia", "cityscapes"):
        statistics = json.loads((world.data[domain] / "sample_class_stats.json").read_text())
        assert len(statistics) == 3


def test_a_second_call_does_nothing(tmp_path):
    first = ensure_miniworld(tmp_path, None, TINY, ["gta"], workers=1)
    before = modified(tmp_path)
    second = ensure_miniworld(tmp_path, None, TINY, ["gta"], workers=1)
    assert set(first.seconds) == {"gta"}
    assert second.seconds == {}
    assert modified(tmp_path) == before


def test_an_interrupted_world_is_completed(tmp_path):
    ensure_miniworld(tmp_path, None, TINY, ["gta"], workers=1)
    folder = tmp_path / "gta"
    kept, lost = folder / "images/00001.png", folder / "images/00002.png"
    content, time = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    stamp = json.loads((folder / ".miniworld.json").read_text())
    (folder / ".miniworld.json").write_text(json.dumps({**stamp, "complete": False}))
    ensure_miniworld(tmp_path, None, TINY, ["gta"], workers=1)
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == time


def test_another_seed_redoes_the_domain(tmp_path):
    ensure_miniworld(tmp_path, None, TINY, ["gta"], workers=1)
    before = (tmp_path / "gta/images/00001.png").read_bytes()
    again = ensure_miniworld(tmp_path, None, replace(TINY, seed=7), ["gta"], workers=1)
    assert set(again.seconds) == {"gta"}
    assert (tmp_path / "gta/images/00001.png").read_bytes() != before


def test_foreign_files_are_left_alone(tmp_path):
    (tmp_path / "gta").mkdir()
    (tmp_path / "gta/precious.txt").write_text("mine")
    with pytest.raises(UserError, match="not made by the miniature world"):
        ensure_miniworld(tmp_path, None, TINY, ["gta"], workers=1)
    assert (tmp_path / "gta/precious.txt").read_text() == "mine"


def test_weights_are_made_once_and_load(tmp_path):
    quick = WeightOptions(web_frames=6, backbone_steps=2, clip_steps=2)

    def make():
        return ensure_miniworld(tmp_path / "data", tmp_path / "weights", TINY, (), quick, 1)

    paths = make()
    assert set(paths.seconds) == {"web", "nano_backbone", "clip"}
    assert make().seconds == {}

    import torch

    from mmseg_uda.foundation.clip import OpenClip
    from mmseg_uda.miniworld.nano_weights import nano_backbone

    nano = nano_backbone()[0]
    nano.load_state_dict(torch.load(paths.weights["nano_backbone"], weights_only=True))
    images = torch.rand(1, 3, 64, 64)
    boxes = torch.tensor([[0, 0, 64, 32]])
    scores = OpenClip(str(paths.weights["clip"])).classify(
        images, ["car", "bus"], boxes, torch.tensor([0])
    )
    assert scores.shape == (1, 2)
    assert torch.isfinite(scores).all()


def test_generalization_adds_targets_lists_and_encoders(tmp_path):
    quick = WeightOptions(web_frames=6, backbone_steps=2, clip_steps=2)
    counts = {"gta": {"train": 7}, "bdd": {"val": 1}, "mapillary": {"validation": 1}}
    tiny = replace(TINY, counts=counts)

    def make():
        root, weights = tmp_path / "data", tmp_path / "weights"
        return ensure_miniworld(root, weights, tiny, ["gta"], quick, 1, ["generalization"])

    paths = make()
    assert {"gta", "bdd", "mapillary", "web"} == set(paths.data)
    assert make().seconds == {}
    lists = {
        s: (paths.data["gta"] / f"splits/{s}.txt").read_text().split() for s in ("train", "val")
    }
    assert lists["val"] == ["00005"]
    assert sorted(lists["train"] + lists["val"]) == [f"{i:05d}" for i in range(1, 8)]

    from mmseg_uda.miniworld.staged_weights import STAGED
    from mmseg_uda.models.backbones import StagedBackbone
    from mmseg_uda.models.weights import load_backbone_weights

    for arch, (width, depth) in STAGED.items():
        backbone = StagedBackbone(arch, width=width, depth=depth)
        load_backbone_weights(backbone, str(paths.weights[arch]))


def test_weights_of_networks_in_stages_have_torchvisions_names():
    import torch
    import torchvision

    from mmseg_uda.models.backbones import StagedBackbone

    for arch in ("resnet50", "mobilenet_v2", "shufflenet_v2_x1_0"):
        with torch.device("meta"):
            ours, theirs = StagedBackbone(arch), getattr(torchvision.models, arch)(weights=None)
        names = set(ours.to_torchvision_names(ours.state_dict()))
        expected = {n for n in theirs.state_dict() if not n.startswith(("fc.", "classifier."))}
        assert names == expected
