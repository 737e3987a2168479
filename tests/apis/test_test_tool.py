"""tools/test.py with test-time augmentation, run in this process."""

import re
import runpy
import shutil
import sys

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmseg_uda.apis import Augmentations, init_segmentor, predict


@pytest.fixture
def evaluate(trained, tmp_path, monkeypatch, capsys):
    def call(*arguments, kind="daformer", config=None):
        own, checkpoint = trained(kind)
        fixed = [config or own, checkpoint, "--work-dir", tmp_path / "work"]
        monkeypatch.setattr(sys, "argv", ["test.py", *map(str, [*fixed, *arguments])])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path("tools/test.py", run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return call


def iou(predictions, labels):
    """Mean over classes that occur, in per cent."""
    values = []
    for c in range(19):
        both = sum(np.sum((p == c) & (t == c)) for p, t in zip(predictions, labels, strict=True))
        either = sum(np.sum((p == c) | (t == c)) for p, t in zip(predictions, labels, strict=True))
        if either:
            values.append(both / either)
    return 100 * np.mean(values)


@pytest.mark.parametrize("part", ["model", "ema_model"])
def test_augmented_scores_and_pictures(kind, part, evaluate, trained, images, tmp_path):
    arguments = ["--tta-scales", "0.75", "1", "--out", tmp_path / "out"]
    arguments += ["--teacher"] if part == "ema_model" else []
    status, out, err = evaluate(*arguments, kind=kind)
    assert status == 0, err
    model = init_segmentor(*trained(kind), "cpu", part=part)
    paths = sorted(images.rglob("*_leftImg8bit.png"))
    augmentations = Augmentations((0.75, 1.0))
    expected = [predict(model, path, augmentations=augmentations).label for path in paths]
    for path, label in zip(paths, expected, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / path.name)), label)
    labels = [np.asarray(Image.open(p)) for p in sorted(images.rglob("*_labelTrainIds.png"))]
    score = float(re.search(r"mIoU: ([\d.]+)", out)[1])
    assert score == pytest.approx(iou(expected, labels), abs=0.006)


def test_default_views_are_the_published_ones(evaluate, trained, images, tmp_path):
    status, _, err = evaluate("--tta", "--out", tmp_path / "out")
    assert status == 0, err
    path = next(images.rglob("*_leftImg8bit.png"))
    model = init_segmentor(*trained("daformer"), "cpu")
    ratios = Augmentations((0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True)
    label = predict(model, path, augmentations=ratios).label
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / path.name)), label)


def test_one_view_scores_as_no_augmentation(evaluate):
    plain, single = (
        evaluate(*arguments, kind="hrda")[1]
        for arguments in ([], ["--tta-scales", "1", "--tta-no-flip"])
    )
    assert re.search(r"mIoU: \S+", plain)[0] == re.search(r"mIoU: \S+", single)[0]


def test_what_does_not_go_together(evaluate, trained, tmp_path):
    status, _, err = evaluate("--tta", "--hrda-out", "ATT", kind="hrda")
    assert status == 2 and "no mean over views" in err
    cfg = Config.fromfile(trained("daformer")[0])
    cfg.test_dataloader.dataset.pipeline = cfg.test_pipeline[:1] + cfg.test_pipeline[2:]
    cfg.dump(tmp_path / "no_resize.py")
    status, _, err = evaluate("--tta", config=tmp_path / "no_resize.py")
    assert status == 2 and "one resize and one pack" in err


@pytest.fixture
def two_targets(trained, tmp_path):
    """The Cityscapes frames as they are, and their middle squares as a second target."""
    cfg = Config.fromfile(trained("daformer")[0])
    dataset = cfg.test_dataloader.dataset
    native = [dict(type="LoadFrame"), dict(type="LoadTrainIds")]
    square = dict(type="CenterCropPad", size=(32, 32))
    targets = {
        name: {**dataset, "pipeline": [*native, *steps, dict(type="PackFields")]}
        for name, steps in (("whole", []), ("middle", [square]))
    }
    cfg.test_dataloader.dataset = dict(type="MultiTargetDataset", targets=targets)
    cfg.test_evaluator = dict(type="MultiTargetIoU")
    cfg.dump(tmp_path / "targets.py")
    return tmp_path / "targets.py"


def test_several_targets_at_once(evaluate, two_targets, trained, images, tmp_path):
    status, out, err = evaluate("--out", tmp_path / "out", config=two_targets)
    assert status == 0, err
    scores = {name: float(v) for name, v in re.findall(r"mIoU of (\w+): ([\d.]+)", out)}
    assert sorted(scores) == ["middle", "whole"]  # a dumped config sorts its keys
    labels = [np.asarray(Image.open(p)) for p in sorted(images.rglob("*_labelTrainIds.png"))]
    parts = {"whole": labels, "middle": [label[4:36, 24:56] for label in labels]}
    for name, expected in parts.items():
        written = sorted((tmp_path / "out" / name).glob("*.png"))
        predictions = [np.asarray(Image.open(path)) for path in written]
        assert scores[name] == pytest.approx(iou(predictions, expected), abs=0.006)
    mean = float(re.search(r"^mIoU: ([\d.]+)", out, re.M)[1])
    assert mean == pytest.approx(sum(scores.values()) / 2, abs=0.011)


def test_one_of_several_targets(evaluate, two_targets):
    status, out, err = evaluate("--targets", "middle", config=two_targets)
    assert status == 0, err
    assert re.findall(r"mIoU of (\w+)", out) == ["middle"]
    status, _, err = evaluate("--targets", "bdd100k", config=two_targets)
    assert status == 2 and "Use middle, whole" in err
    status, _, err = evaluate("--test-set", "--out", "x", config=two_targets)
    assert status == 2 and "single target" in err
    status, _, err = evaluate("--targets", "middle")
    assert status == 2 and "evaluates a single data set" in err


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls the tool with arguments alone; status, output, errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["test.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path("tools/test.py", run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


def test_the_folder_of_a_training(trained, call, tmp_path):
    config, checkpoint = trained("daformer")
    shutil.copy(config, tmp_path / "config.py")
    for name in ("iter_4.pth", "best_mIoU_iter_2.pth"):
        shutil.copy(checkpoint, tmp_path / name)
    (tmp_path / "iter_20.pth").write_bytes(b"the newest")
    status, _, err = call(tmp_path)
    assert status == 2 and "iter_20.pth" in err
    (tmp_path / "iter_20.pth").unlink()
    status, out, err = call(tmp_path)
    assert status == 0, err
    assert re.search(r"mIoU: [\d.]+", out) and list(tmp_path.glob("*/*.json"))
    assert call(tmp_path, checkpoint)[0] == 0  # another one, evaluated there


def test_a_checkpoint_is_evaluated_in_its_runs_folder(trained, call, tmp_path, monkeypatch):
    config, checkpoint = trained("daformer")
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(checkpoint, run / "iter_4.pth")
    (run / "last_checkpoint").write_text(str(run / "iter_4.pth"))
    assert call(config, run / "iter_4.pth", "--cfg-options", f"work_dir={tmp_path}/other")[0] == 0
    assert list(run.glob("*/*.json")) and not (tmp_path / "other").exists()


def test_folders_that_are_no_training(trained, call, tmp_path):
    config, _ = trained("daformer")
    status, _, err = call(tmp_path)
    assert status == 2 and "holds none" in err
    shutil.copy(config, tmp_path / "config.py")
    status, _, err = call(tmp_path)
    assert status == 2 and "holds no checkpoint" in err
    shutil.copy(config, tmp_path / "other.py")
    status, _, err = call(tmp_path)
    assert status == 2 and "config.py, other.py" in err
    status, _, err = call(config)
    assert status == 2 and "wants a checkpoint" in err
