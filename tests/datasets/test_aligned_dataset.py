"""Aligned labels as a data set."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mmseg.registry import DATASETS
from tiny_data import write_image, write_label

from mmseg_uda.datasets import DomainPairDataset, class_pixel_counts
from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import load_taxonomy_map, missing_paths

PIPELINE = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="LoadConfidence"),
    dict(type="PackFields"),
]


@pytest.fixture
def world(tmp_path):
    """Two IDD frames; results of an alignment for both."""
    for name, ids in (("0/a", (0, 13)), ("1/b", (25, 8))):
        write_image(tmp_path / f"idd/leftImg8bit/train/{name}_leftImg8bit.png", 4, 6)
        label = np.full((4, 6), ids[0])
        label[2:] = ids[1]
        confidence = np.zeros((4, 6))
        confidence[2:, :3], confidence[2:, 3:] = 255, 102
        write_label(tmp_path / f"out/labels/{name}_leftImg8bit.png", label)
        write_label(tmp_path / f"out/confidence/{name}_leftImg8bit.png", confidence)
    return tmp_path


def build(world, pipeline=PIPELINE, **options):
    images = dict(type="IDD", data_root=str(world / "idd"), split="train")
    given = dict(images=images, results=str(world / "out"), taxonomy_map="idd_v5", **options)
    return DATASETS.build(dict(type="AlignedDataset", pipeline=pipeline, **given))


def test_samples_have_image_label_and_confidence(world):
    data = build(world)
    assert len(data) == 2
    assert data.metainfo["classes"][8] == "autorickshaw"
    sample = data[0]["data_samples"]
    assert sample.gt_sem_seg.data[0, :, 0].tolist() == [0, 0, 13, 13]
    assert sample.confidence.data[0, 3].tolist() == [255] * 3 + [102] * 3


def test_the_other_name_of_the_label_folder(world):
    (world / "out/labels").rename(world / "out/label")
    assert build(world)[1]["data_samples"].gt_sem_seg.data[0, 3, 0] == 8


def test_without_confidence_files(world):
    (world / "out/confidence").rename(world / "out/elsewhere")
    assert "confidence" not in build(world)[0]["data_samples"]


def test_unsure_labels_are_ignored_and_defaults_stay(world):
    steps = [dict(s, min_confidence=0.5) if s["type"] == "LoadConfidence" else s for s in PIPELINE]
    label = build(world, steps)[0]["data_samples"].gt_sem_seg.data[0]
    assert label[0].tolist() == [0] * 6  # nothing was decided here
    assert label[3].tolist() == [13] * 3 + [255] * 3


def test_annotated_images_may_be_mixed_in(world):
    write_image(world / "gta/images/1.png", 4, 6)
    write_label(world / "gta/labels/1_labelTrainIds.png", np.full((4, 6), 9))
    steps = [dict(s, fill=255) if s["type"] == "LoadConfidence" else s for s in PIPELINE]
    images = dict(type="IDD", data_root=str(world / "idd"), split="train")
    aligned = dict(images=images, results=str(world / "out"), taxonomy_map="idd_v5")
    mapped = dict(enumerate(load_taxonomy_map("idd_v5").defaults))
    gta = dict(data_root=str(world / "gta"), taxonomy="idd26", label_map=mapped)
    both = [
        dict(type="AlignedDataset", pipeline=steps, **aligned),
        dict(type="GTA", pipeline=steps, **gta),
    ]
    pairs = DomainPairDataset(source=dict(type="ConcatDataset", datasets=both))
    assert len(pairs) == 3
    sample = pairs[2]["source"]["data_samples"]
    assert sample.gt_sem_seg.data.unique().tolist() == [3]
    assert sample.confidence.data.unique().tolist() == [255]


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_a_probability_is_needed(world, value):
    with pytest.raises(UserError, match="min_confidence"):
        build(world, [dict(type="LoadConfidence", min_confidence=value)])


def test_failed_images_are_left_out(world):
    (world / "out/labels/1/b_leftImg8bit.png").unlink()
    with pytest.raises(UserError, match="1 of 2 images have no aligned label"):
        build(world)
    line = json.dumps({"name": "1/b_leftImg8bit", "error": "damaged"})
    (world / "out/failures.jsonl").write_text(line + "\n")
    assert len(build(world)) == 1
    for junk in ("[1", "[]", "7", '"text"', "[" * 100_000, '{"error": 1}'):
        (world / "out/failures.jsonl").write_text(f"{line}\n{junk}\n")
        with pytest.raises(UserError, match="failures.jsonl is damaged in line 2"):
            build(world)


def test_without_results(world):
    (world / "out").rename(world / "elsewhere")
    with pytest.raises(UserError, match="holds no aligned labels"):
        build(world)


def test_classes_are_counted_in_the_aligned_labels(world):
    counts = class_pixel_counts(build(world))
    assert counts.shape == (2, 26)
    assert counts[0, [0, 13]].tolist() == [12, 12]
    assert not list((world / "idd").rglob("*.json"))


def test_missing_images_are_told_before_a_training(tmp_path):
    config = dict(
        type="DomainPairDataset",
        source=dict(
            type="AlignedDataset",
            images=dict(type="Mapillary", data_root=f"{tmp_path}/mv"),
            results=f"{tmp_path}/to_come",
        ),
    )
    (missing,) = missing_paths(config)
    assert "mapillary.com" in missing.fix
