"""What the start of a training refuses, the doctor does not call well; and the other way round."""

import json

import numpy as np
import pytest
from mmengine.config import Config
from nano import nano_config
from two_classes import LOAD, World

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.experiments.doctor import cli


class Place(World):
    """The two-class world with a config that trains, and what both say about it."""

    def __init__(self, root, monkeypatch, capsys):
        super().__init__(root)
        self.capsys = capsys
        monkeypatch.setattr(cli, "check_installation", lambda: [])
        monkeypatch.setattr(preflight, "settle_for_cache_when_offline", lambda: None)

    def both(self, **changes):
        """Messages of the start of a training, and problems and warnings of the doctor."""
        config = self.config()
        config["model"] = nano_config(2, size=(12, 20))
        for key, value in changes.items():
            *path, last = key.split("__")
            place = config
            for name in path:
                place = place[name]
            place[last] = value
        path = self.root / "cfg.py"
        Config(config).dump(str(path))
        resolved = plain_config(path)
        try:
            preflight.require([resolved], "", weights=False)
            start = [("warning", f.message) for f in preflight.inspect([resolved])]
        except UserError as error:
            start = [("problem", error.message)]
        status = cli.main([str(path), "--json"])
        findings = json.loads(self.capsys.readouterr().out)
        doctor = [(f["level"], f["message"]) for f in findings]
        doctor = [entry for entry in doctor if entry[0] in ("warning", "problem")]
        assert status == any(level == "problem" for level, _ in doctor)
        return start, doctor


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    return Place(tmp_path, monkeypatch, capsys)


def test_a_sound_config_is_well_for_both(place):
    assert place.both() == ([], [])


SOURCE = "train_dataloader__dataset__source"
VAL = "val_dataloader__dataset"
SHRUNK = [*LOAD[:2], dict(type="ResizeFields", scale=(9, 9)), LOAD[2]]
WEIGHTED = dict(type="PixelCrossEntropy", class_weight=[1.0] * 3)
CONFIGS = {
    "label map": {f"{SOURCE}__label_map": "nope"},
    "label map of pairs": {f"{SOURCE}__label_map": {0: 1, 1: 700}},
    "ids outside": {f"{SOURCE}__label_map": {1: 7}},
    "no label loader": {f"{SOURCE}__pipeline": [LOAD[0], LOAD[2]]},
    "no image loader": {f"{SOURCE}__pipeline": LOAD[1:]},
    "no packing": {f"{SOURCE}__pipeline": LOAD[:2]},
    "no pipeline": {f"{SOURCE}__pipeline": []},
    "a pipeline that is a text": {f"{SOURCE}__pipeline": "LoadFrame"},
    "labels resized": {f"{VAL}__pipeline": SHRUNK},
    "another head": {"model__decode_head__num_classes": 5},
    "another metric": {"val_evaluator__taxonomy": "cityscapes19"},
    "another taxonomy": {"uda__taxonomy": "cityscapes19"},
    "no such taxonomy": {f"{SOURCE}__taxonomy": "nope"},
    "a data set that is a text": {SOURCE: "GTA"},
    "a missing folder": {f"{SOURCE}__img_dir": "nowhere"},
    "class weights": {"model__decode_head__loss_decode": WEIGHTED},
    "rare classes": {"train_dataloader__dataset__rare_class_sampling": dict(min_pixels=9999)},
    "sampling that is a text": {"train_dataloader__dataset__rare_class_sampling": "rcs"},
    "empty batches": {"train_dataloader__batch_size": 0},
    "fewer workers than none": {"val_dataloader__num_workers": -1},
}


@pytest.mark.parametrize("what", CONFIGS)
def test_what_a_start_refuses_is_a_problem_for_the_doctor(place, what):
    start, doctor = place.both(**CONFIGS[what])
    assert [level for level, _ in start] == ["problem"], start
    problems = [message for level, message in doctor if level == "problem"]
    assert problems
    first = problems[0].partition(" has no pixel")[0]
    assert any(message in start[0][1] for message in problems) or "missing" in first


def spoil(place, how):
    if how == "sizes":
        place.label("src", 1, np.zeros((10, 20), np.uint8))
    elif how == "colours":
        place.label("val", 1, np.zeros((12, 20, 3), np.uint8))
    elif how == "no image":
        place.path("tgt", "images", 1).write_bytes(b"<html>")
    elif how == "truncated":
        path = place.path("src", "images", 2)
        path.write_bytes(path.read_bytes()[:-30])
    elif how == "ids":
        place.label("val", 0, np.full((12, 20), 9, np.uint8))
    elif how == "masks":
        place.labels("src", lambda ids: ids * 255)
    elif how == "blank":
        place.image("tgt", 0, np.zeros((12, 20, 3), np.uint8))


@pytest.mark.parametrize(
    ("how", "level"),
    [
        *((how, "problem") for how in ("sizes", "colours", "no image", "truncated", "ids")),
        *((how, "warning") for how in ("masks", "blank")),
    ],
)
def test_files_are_judged_alike(place, how, level):
    spoil(place, how)
    start, doctor = place.both()
    assert start == doctor and [one for one, _ in start] == [level]


class TestOnlyTheDoctorTries:
    """What a training finds when it builds, the doctor builds, too."""

    def test_options_that_a_data_set_refuses(self, place):
        _, doctor = place.both(train_dataloader__dataset__sync_crop_size="big")
        assert [level for level, _ in doctor] == ["problem"]
        assert "train_dataloader.dataset" in doctor[0][1]

    def test_a_misspelt_key_of_the_network(self, place):
        _, doctor = place.both(model__decode_head__chanels=16)
        assert [level for level, _ in doctor] == ["problem"] and "chanels" in doctor[0][1]

    def test_a_misspelt_key_of_the_trainer(self, place):
        _, doctor = place.both(uda__alfa=0.9)
        assert [level for level, _ in doctor] == ["problem"] and "alfa" in doctor[0][1]

    def test_a_number_of_the_trainer(self, place):
        _, doctor = place.both(uda__alpha=2)
        assert [level for level, _ in doctor] == ["problem"] and "uda.alpha=2" in doctor[0][1]

    def test_a_transform_that_fails(self, place):
        crop = dict(type="CropFields", crop_size=(8, 8), cat_max_ratio="much")
        _, doctor = place.both(**{f"{SOURCE}__pipeline": [*LOAD[:2], crop, LOAD[2]]})
        assert [level for level, _ in doctor] == ["problem"]
        assert "first sample cannot be made" in doctor[0][1]
