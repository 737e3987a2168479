from __future__ import annotations

import numpy as np
import pytest
from mmseg.registry import DATASETS
from tiny_data import write_image, write_label

from mmseg_uda.errors import UserError

PIPELINE = [dict(type="LoadFrame"), dict(type="LoadTrainIds"), dict(type="PackFields")]


@pytest.fixture
def config(tmp_path):
    """Three frames of GTA and two of Mapillary with raw ids, of other sizes."""
    for i in range(3):
        write_image(tmp_path / f"gta/images/{i}.png", 20, 30)
        write_label(tmp_path / f"gta/labels/{i}_labelTrainIds.png", np.full((20, 30), i))
    for i in range(2):
        write_image(tmp_path / f"vistas/validation/images/{i}.jpg", 24, 16)
        label = np.full((24, 16), 13)  # road
        label[:12] = 49  # the back of a sign: no class
        write_label(tmp_path / f"vistas/validation/labels/{i}.png", label)
    common = dict(pipeline=PIPELINE, test_mode=True)
    return dict(
        type="MultiTargetDataset",
        targets=dict(
            gta=dict(type="GTA", data_root=str(tmp_path / "gta"), **common),
            mapillary=dict(
                type="Mapillary",
                data_root=str(tmp_path / "vistas"),
                split="val",
                label_map="mapillary12",
                **common,
            ),
        ),
    )


def test_targets_come_one_after_another_and_every_sample_names_its_own(config):
    dataset = DATASETS.build(config)
    assert len(dataset) == 5
    assert dataset.metainfo["targets"] == {"gta": 3, "mapillary": 2}
    assert len(dataset.metainfo["classes"]) == 19
    samples = [dataset[i]["data_samples"] for i in range(5)]
    assert [s.target for s in samples] == ["gta"] * 3 + ["mapillary"] * 2
    assert [s.ori_shape for s in samples] == [(20, 30)] * 3 + [(24, 16)] * 2
    assert samples[2].gt_sem_seg.data.unique().tolist() == [2]
    assert samples[4].gt_sem_seg.data.unique().tolist() == [0, 255]
    info = dataset.get_data_info(3)
    assert info["target"] == "mapillary"
    assert info["img_path"].endswith("validation/images/0.jpg")
    with pytest.raises(IndexError):
        dataset[5]


def test_targets_share_their_classes(config, tmp_path):
    classes = [dict(name="all", color=[0, 0, 0], group="g", prompts=["all"])]
    (tmp_path / "one.yaml").write_text(repr(dict(classes=classes)))
    config["targets"]["gta"]["taxonomy"] = str(tmp_path / "one.yaml")
    with pytest.raises(UserError, match="'gta' and 'mapillary' differ in their classes"):
        DATASETS.build(config)
    with pytest.raises(UserError, match="no targets"):
        DATASETS.build(dict(type="MultiTargetDataset", targets={}))
