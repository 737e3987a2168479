"""The validation images that the report shows."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_data import write_image

from mmseg_uda.errors import UserError
from mmseg_uda.visualization import ExamplePicturesHook

PALETTE = [[128, 64, 128], [70, 130, 180]]


class Images:
    metainfo = dict(classes=("road", "sky"), palette=PALETTE)

    def __init__(self, folder, count, size=(20, 40)):
        self.paths = [folder / f"frame_{i}.png" for i in range(count)]
        self.pixels = [write_image(path, *size, seed=i) for i, path in enumerate(self.paths)]

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return {"img_path": str(self.paths[index])}


def validate(hook, dataset, work_dir, step=100, label=True):
    runner = SimpleNamespace(
        val_dataloader=SimpleNamespace(dataset=dataset), work_dir=str(work_dir), iter=step
    )
    hook.before_val_epoch(runner)
    for i, path in enumerate(dataset.paths):
        sample = SegDataSample(metainfo={"img_path": str(path)})
        ids = torch.zeros(1, *dataset.pixels[i].shape[:2], dtype=torch.long)
        ids[..., 20:] = 1
        sample.pred_sem_seg = PixelData(data=ids)
        if label:
            sample.gt_sem_seg = PixelData(data=torch.where(ids == 1, 255, ids))
        hook.after_val_iter(runner, i, None, [sample])
    hook.after_val_epoch(runner, {})
    return work_dir / "examples"


def test_images_are_spread_evenly_and_named(tmp_path):
    folder = validate(ExamplePicturesHook(count=2), Images(tmp_path, 8), tmp_path / "run")
    content = json.loads((folder / "examples.json").read_text())
    assert [e["name"] for e in content["examples"]] == ["frame_2", "frame_6"]
    assert content["iter"] == 100
    assert content["classes"] == ["road", "sky"]
    assert content["palette"] == PALETTE


def test_pictures_show_image_label_and_prediction(tmp_path):
    data = Images(tmp_path, 1)
    folder = validate(ExamplePicturesHook(count=4), data, tmp_path / "run")
    (example,) = json.loads((folder / "examples.json").read_text())["examples"]
    image = np.asarray(Image.open(folder / example["image"]).convert("RGB")).astype(int)
    assert image.shape == (20, 40, 3)
    assert abs(image.mean(axis=(0, 1)) - data.pixels[0][..., ::-1].mean(axis=(0, 1))).max() < 8
    prediction = Image.open(folder / example["prediction"])
    assert np.array_equal(np.unique(np.asarray(prediction)), [0, 1])
    assert prediction.convert("RGB").getpixel((39, 0)) == (70, 130, 180)
    label = Image.open(folder / example["label"])
    assert label.convert("RGB").getpixel((0, 0)) == (128, 64, 128)
    assert label.convert("RGB").getpixel((39, 0)) == (0, 0, 0)  # unlabelled


def test_wide_images_are_reduced_and_labels_stay_ids(tmp_path):
    data = Images(tmp_path, 1, size=(50, 100))
    folder = validate(ExamplePicturesHook(count=1, width=32), data, tmp_path / "run")
    assert Image.open(folder / "00_image.jpg").size == (32, 16)
    prediction = Image.open(folder / "00_prediction.png")
    assert prediction.size == (32, 16)
    assert np.array_equal(np.unique(np.asarray(prediction)), [0, 1])


def test_the_last_validation_stays(tmp_path):
    hook, data = ExamplePicturesHook(count=1), Images(tmp_path, 3)
    validate(hook, data, tmp_path / "run", step=100)
    folder = validate(hook, data, tmp_path / "run", step=200)
    assert json.loads((folder / "examples.json").read_text())["iter"] == 200


def test_without_labels_there_is_still_a_prediction(tmp_path):
    folder = validate(ExamplePicturesHook(count=1), Images(tmp_path, 1), tmp_path, label=False)
    (example,) = json.loads((folder / "examples.json").read_text())["examples"]
    assert example["label"] is None
    assert (folder / example["prediction"]).exists()


def test_off(tmp_path):
    assert not validate(ExamplePicturesHook(count=0), Images(tmp_path, 2), tmp_path).exists()


def test_impossible_options():
    with pytest.raises(UserError, match="examples"):
        ExamplePicturesHook(count=-1)


def test_a_target_that_is_scored_at_its_processed_size_shows_what_the_network_saw(tmp_path):
    """Only the middle of the image is scored: picture and prediction belong together."""
    data = Images(tmp_path, 1, size=(20, 60))
    runner = SimpleNamespace(
        val_dataloader=SimpleNamespace(dataset=data), work_dir=str(tmp_path / "run"), iter=1
    )
    hook = ExamplePicturesHook(count=1)
    hook.before_val_epoch(runner)
    sample = SegDataSample(metainfo={"img_path": str(data.paths[0]), "target": "mapillary"})
    sample.pred_sem_seg = PixelData(data=torch.zeros(1, 20, 20, dtype=torch.long))
    seen = torch.full((3, 20, 20), 40, dtype=torch.uint8)
    seen[2] = 200  # BGR
    hook.after_val_iter(runner, 0, {"inputs": [seen]}, [sample])
    hook.after_val_epoch(runner, {})
    (example,) = json.loads((tmp_path / "run/examples/examples.json").read_text())["examples"]
    assert example["name"] == "mapillary: frame_0"
    picture = np.asarray(Image.open(tmp_path / "run/examples" / example["image"])).astype(int)
    assert picture.shape == (20, 20, 3)
    assert abs(picture - [200, 40, 40]).max() < 12
    assert Image.open(tmp_path / "run/examples" / example["prediction"]).size == (20, 20)
