"""tools/infer.py, run in this process."""

import json
import runpy
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_data import write_image

from mmseg_uda.apis import Augmentations, Predictor, init_segmentor, predict
from mmseg_uda.taxonomy import load_taxonomy

SIZES = {"a/1.png": (40, 80), "a/2.jpg": (40, 80), "a/deep/3.png": (70, 33), "a/4.png": (1, 1)}


@pytest.fixture
def pictures(tmp_path):
    for seed, (name, size) in enumerate(SIZES.items()):
        write_image(tmp_path / name, *size, seed=seed)
    return tmp_path / "a"


@pytest.fixture
def infer(trained, tmp_path, monkeypatch, capsys):
    """Runs the tool; returns exit status and what it printed to stdout and stderr."""

    def call(*arguments, kind="daformer", inputs=None, out="out", config=None, checkpoint=None):
        own = trained(kind)
        config, checkpoint = config or own[0], checkpoint or own[1]
        inputs = [tmp_path / "a"] if inputs is None else inputs
        fixed = [config, checkpoint, *inputs, "--out", tmp_path / out, "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["infer.py", *map(str, [*fixed, *arguments])])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path("tools/infer.py", run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return call


def read(path):
    return np.asarray(Image.open(path))


def test_every_image_gets_its_pictures(kind, infer, pictures, trained, tmp_path):
    status, out, _ = infer("--batch-size", "2", kind=kind)
    assert status == 0 and "4 images segmented, 0 failed" in out
    model = init_segmentor(*trained(kind), "cpu")
    palette = np.array(load_taxonomy("cityscapes19").palette)
    for name, size in SIZES.items():
        place = name.removeprefix("a/").rsplit(".", 1)[0] + ".png"
        label = predict(model, tmp_path / name).label
        ids = Image.open(tmp_path / "out/ids" / place)
        assert ids.mode == "L" and ids.size == size[::-1]
        agreement = np.mean(np.asarray(ids) == label)
        assert agreement > 0.99  # a batch adds up in another order than one image
        color = Image.open(tmp_path / "out/color" / place)
        assert color.mode == "P" and np.array_equal(np.asarray(color), np.asarray(ids))
        assert np.array_equal(np.asarray(color.convert("RGB")), palette[np.asarray(ids)])
        image = cv2.imread(str(tmp_path / name))[..., ::-1]
        expected = 0.5 * image + 0.5 * palette[np.asarray(ids)]
        assert np.abs(read(tmp_path / "out/overlay" / place) - expected).max() <= 0.5
    legend = Image.open(tmp_path / "out/legend.png").convert("RGB")
    shown = set(map(tuple, np.asarray(legend).reshape(-1, 3)))
    assert set(map(tuple, palette)) <= shown


def test_evaluation_ids_and_opacity(infer, pictures, tmp_path):
    assert infer()[0] == 0
    train_ids = read(tmp_path / "out/ids/1.png")
    taxonomy = load_taxonomy("cityscapes19")
    label_ids = {v: k for k, v in taxonomy.raw_ids["cityscapes"].items()}
    for number, name in enumerate(("taxonomy", "cityscapes")):
        arguments = ["--ids", name, "--write", "ids", "overlay", "--opacity", "1"]
        assert infer(*arguments, out=f"o{number}")[0] == 0
        found = read(tmp_path / f"o{number}/ids/1.png")
        assert np.array_equal(found, np.vectorize(label_ids.get)(train_ids))
        overlay = read(tmp_path / f"o{number}/overlay/1.png")
        assert np.array_equal(overlay, np.array(taxonomy.palette)[train_ids])
        assert not (tmp_path / f"o{number}/color").exists()
    status, _, err = infer("--ids", "kitti", out="o2")
    assert status == 2 and "'kitti'" in err and "cityscapes" in err


def test_teacher_amp_resize_and_modes(infer, pictures, trained, tmp_path):
    assert infer("--teacher", out="teacher")[0] == 0
    teacher = init_segmentor(*trained("daformer"), "cpu", part="ema_model")
    label = predict(teacher, pictures / "1.png").label
    assert np.array_equal(read(tmp_path / "teacher/ids/1.png"), label)
    assert infer("--resize", "64x48", "--write", "ids", out="small")[0] == 0
    student = init_segmentor(*trained("daformer"), "cpu")
    label = predict(student, pictures / "1.png", resize=(64, 48)).label
    assert np.array_equal(read(tmp_path / "small/ids/1.png"), label)
    assert infer("--amp", "bf16", "--write", "ids", out="bf16")[0] == 0
    label = predict(student, pictures / "1.png", amp="bf16").label
    assert np.array_equal(read(tmp_path / "bf16/ids/1.png"), label)
    # 40 x 80 pixels in windows of the training's 32 x 32
    slide = ["--inference-mode", "slide", "--resize", "none", "--write", "ids"]
    assert infer(*slide, out="slide")[0] == 0
    assert infer(*slide, "--sequential-slide", out="one")[0] == 0
    whole = predict(student, pictures / "1.png", resize="none").label
    windows, one = (read(tmp_path / o / "ids/1.png") for o in ("slide", "one"))
    assert not np.array_equal(windows, whole)
    assert np.mean(windows == one) > 0.99


def test_augmentations(infer, pictures, trained, tmp_path):
    arguments = ["--tta-scales", "0.5", "1", "--write", "ids"]
    assert infer(*arguments)[0] == 0
    model = init_segmentor(*trained("daformer"), "cpu")
    label = predict(model, pictures / "1.png", augmentations=Augmentations((0.5, 1.0))).label
    assert np.array_equal(read(tmp_path / "out/ids/1.png"), label)
    assert not np.array_equal(label, predict(model, pictures / "1.png").label)


def test_hrda_outputs(infer, pictures, trained, tmp_path):
    assert infer("--hrda-outputs", kind="hrda")[0] == 0
    model = init_segmentor(*trained("hrda"), "cpu")
    found = predict(model, pictures / "deep/3.png", hrda_outputs=True)
    for part in ("lr", "hr"):
        assert np.array_equal(read(tmp_path / f"out/{part}/deep/3.png"), getattr(found, part))
    attention = Image.open(tmp_path / "out/attention/deep/3.png")
    assert attention.mode == "L"
    assert np.abs(np.asarray(attention) / 255 - found.attention).max() <= 0.51 / 255
    status, _, err = infer("--hrda-outputs", out="other")
    assert status == 2 and "outputs of HRDA" in err


def test_an_interrupted_run_continues(infer, pictures, tmp_path):
    infer("--write", "ids", "color")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/ids").rglob("*.png")}
    (tmp_path / "out/color/deep/3.png").unlink()
    status, out, _ = infer("--write", "ids", "color")
    assert status == 0
    assert "3 of 4 images are there already" in out and "1 image segmented" in out
    assert (tmp_path / "out/color/deep/3.png").is_file()
    changed = [p.name for p, time in before.items() if p.stat().st_mtime_ns != time]
    assert changed == ["3.png"]
    assert "4 images segmented" in infer("--write", "ids", "color", "--overwrite")[1]


def test_predictions_of_another_network_are_not_mixed(infer, pictures, tmp_path):
    infer()
    before = read(tmp_path / "out/ids/1.png")
    status, _, err = infer("--teacher")
    assert status == 2 and "made otherwise (different: weights)" in err
    assert np.array_equal(read(tmp_path / "out/ids/1.png"), before)
    assert infer("--teacher", "--overwrite")[0] == 0
    assert not np.array_equal(read(tmp_path / "out/ids/1.png"), before)


def test_bad_images_are_reported_and_the_others_predicted(infer, pictures, tmp_path):
    (pictures / "1.png").write_bytes((pictures / "1.png").read_bytes()[:200])
    (pictures / "5.png").write_text("no image")
    status, out, err = infer("--batch-size", "3")
    assert status == 1 and "3 images segmented, 2 failed" in out
    assert [line.split(" failed: ")[0] for line in err.splitlines() if " failed: " in line] == [
        str(pictures / "1.png"),
        str(pictures / "5.png"),
    ]
    assert "Traceback" not in err
    assert sorted(p.name for p in (tmp_path / "out/ids").rglob("*.png")) == [
        "2.png",
        "3.png",
        "4.png",
    ]
    # once it is mended, the same command makes up for it
    write_image(pictures / "1.png", 40, 80)
    (pictures / "5.png").unlink()
    status, out, _ = infer("--batch-size", "3")
    assert status == 0 and "1 image segmented" in out


def test_one_image_too_large_for_the_batch(infer, pictures, monkeypatch):
    """What fails together is tried one by one, so that only the culprit is reported."""
    write_image(pictures / "2.jpg", 40, 80, seed=9)
    forward = Predictor.__call__

    def limited(self, samples):
        names = [sample["data_samples"].img_path for sample in samples]
        if len(samples) > 1 or names[0].endswith("1.png"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB")
        return forward(self, samples)

    monkeypatch.setattr(Predictor, "__call__", limited)
    status, out, err = infer("--batch-size", "2")
    assert status == 1 and "3 images segmented, 1 failed" in out
    assert "1.png failed: The memory does not suffice" in err and "--resize" in err


def test_a_full_disk_ends_the_run(infer, pictures, monkeypatch):
    from mmseg_uda.apis.prediction_files import PredictionFolder

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PredictionFolder, "write", full)
    status, _, err = infer()
    assert status == 2 and "No space left on device" in err and "then continues" in err


def test_the_record_of_a_run(infer, pictures, tmp_path):
    infer("--amp", "bf16")
    settings = json.loads((tmp_path / "out/settings.json").read_text())
    assert settings["amp"] == "bf16" and settings["model"]["type"] == "SlideEncoderDecoder"
    assert len(settings["weights"]) == 16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch-size", "0"], "at least 1"),
        (["--opacity", "2"], "not in 0..1"),
        (["--tta-scales", "-1"], "positive factors"),
        (["--tta", "--hrda-outputs"], "outputs of HRDA"),
        (["--cfg-options", "model.decode_head.num_classes=4"], "(19,) in the file, (4,)"),
        (["--device", "tpu0"], "no device 'tpu0'"),
    ],
)
def test_wrong_options_are_told(infer, pictures, arguments, words):
    status, _, err = infer(*arguments)
    assert status == 2 and words in err.replace("\n", " ") and "Traceback" not in err


def test_sizes_are_read(infer, pictures):
    status, _, err = infer("--resize", "0x10")
    assert status == 2 and "neither config, none nor like 1024x512" in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(inputs=["nowhere"]), "no file or folder nowhere"),
        (dict(inputs=[__file__]), "test_infer_tool.py is no image that can be read"),
        (dict(checkpoint="nowhere.pth"), "no such weights: nowhere.pth"),
        (dict(config="nowhere.py"), "There is no config nowhere.py"),
        (dict(kind="hrda", config="daformer"), "is a checkpoint of another network"),
    ],
)
def test_wrong_input_is_told(infer, pictures, trained, change, words):
    if change.get("config") == "daformer":
        change = {**change, "config": trained("daformer")[0]}
    status, _, err = infer(**change)
    assert status == 2 and words in err.replace("\n", " ") and "Traceback" not in err
