from __future__ import annotations

import numpy as np
import pytest
import yaml
from mmseg.registry import DATASETS
from tiny_data import write_image, write_label

from mmseg_uda.datasets import ACDC, GTA, Cityscapes, TaxonomyDataset
from mmseg_uda.errors import UserError

LOAD = [{"type": "LoadFrame"}, {"type": "LoadTrainIds"}, {"type": "PackFields"}]


def test_frames_and_labels_are_found_in_order(gta_root):
    dataset = GTA(data_root=str(gta_root))
    assert [dataset.label_path(i) for i in range(len(dataset))] == [
        f"{gta_root}/labels/{i:05d}_labelTrainIds.png" for i in range(4)
    ]
    assert dataset.get_data_info(2)["img_path"] == f"{gta_root}/images/00002.png"


def test_nested_folders_are_scanned(cityscapes_root):
    dataset = Cityscapes(data_root=str(cityscapes_root), images_only=True)
    assert len(dataset) == 3
    path = dataset.get_data_info(2)["img_path"]
    assert path.endswith("leftImg8bit/train/ulm/ulm_000002_000019_leftImg8bit.png")


def test_target_needs_images_only(cityscapes_root):
    dataset = Cityscapes(data_root=str(cityscapes_root), images_only=True, pipeline=LOAD)
    sample = dataset[0]["data_samples"]
    assert "gt_sem_seg" not in sample
    with pytest.raises(UserError, match="without labels"):
        dataset.label_path(0)


def test_missing_folder_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=rf"(?s){tmp_path}/images is missing.*visinf"):
        GTA(data_root=str(tmp_path))


def test_missing_label_asks_for_the_converter(gta_root):
    (gta_root / "labels/00002_labelTrainIds.png").unlink()
    message = r"(?s)1 of 4 images have no label.*00002_labelTrainIds.*convert_datasets/gta.py"
    with pytest.raises(UserError, match=message):
        GTA(data_root=str(gta_root))


def test_label_map_merges_classes(gta_root):
    dataset = GTA(data_root=str(gta_root), label_map="gta16", pipeline=LOAD)
    present = [dataset[i]["data_samples"].gt_sem_seg.data.unique().tolist() for i in range(4)]
    assert present == [[0, 1], [0, 8], [0, 13], [0, 255]]


def test_data_root_variable(gta_root, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(gta_root.parent))
    assert len(GTA()) == 4


def test_metainfo_comes_from_the_taxonomy(gta_root):
    dataset = GTA(data_root=str(gta_root))
    assert dataset.metainfo["classes"][13] == "car"
    assert dataset.metainfo["palette"][13] == [0, 0, 142]


def test_another_taxonomy_with_another_class_count(tmp_path, gta_root):
    names = ("ground", "thing")
    path = tmp_path / "coarse.yaml"
    classes = [
        {"name": n, "color": [i] * 3, "group": n, "prompts": [n]} for i, n in enumerate(names)
    ]
    merged = {i: int(i > 10) for i in range(19)}
    path.write_text(yaml.safe_dump({"classes": classes, "remaps": {"coarse": merged}}))
    dataset = GTA(data_root=str(gta_root), taxonomy=str(path), label_map="coarse", pipeline=LOAD)
    assert dataset.metainfo["classes"] == names
    present = [dataset[i]["data_samples"].gt_sem_seg.data.unique().tolist() for i in range(4)]
    assert present == [[0], [0], [0, 1], [0, 1]]


def test_ids_outside_another_taxonomy_are_refused(tmp_path, gta_root):
    path = tmp_path / "one.yaml"
    entry = {"name": "ground", "color": [0, 0, 0], "group": "flat", "prompts": ["ground"]}
    path.write_text(yaml.safe_dump({"classes": [entry]}))
    dataset = GTA(data_root=str(gta_root), taxonomy=str(path), pipeline=LOAD)
    with pytest.raises(UserError, match="holds id 1"):
        dataset[0]


def test_own_data_with_other_folders_and_suffixes(tmp_path):
    write_image(tmp_path / "pictures/a/x.jpg", 4, 6)
    write_label(tmp_path / "masks/a/x_mask.png", np.full((4, 6), 5))
    cfg = {
        "type": "TaxonomyDataset",
        "data_root": str(tmp_path),
        "img_dir": "pictures",
        "label_dir": "masks",
        "img_suffix": ".jpg",
        "label_suffix": "_mask.png",
        "pipeline": LOAD,
    }
    dataset = DATASETS.build(cfg)
    assert isinstance(dataset, TaxonomyDataset)
    assert dataset[0]["data_samples"].gt_sem_seg.data.unique().tolist() == [5]


def test_wrong_margins_are_refused(gta_root):
    with pytest.raises(UserError, match=r"crop_pseudo_margins=\[30, 240\]"):
        GTA(data_root=str(gta_root), crop_pseudo_margins=[30, 240])


def test_mmsegmentation_keeps_its_own_classes():
    from mmseg.datasets import CityscapesDataset

    assert DATASETS.get("CityscapesDataset") is CityscapesDataset
    assert DATASETS.get("ACDC") is ACDC
