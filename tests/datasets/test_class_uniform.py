"""Class-uniform sampling."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from tiny_data import write_image, write_label
from torch.utils.data import DataLoader

from mmseg_uda.datasets import (
    GTA,
    ClassUniformSampling,
    PairSampler,
    class_centroids,
    class_uniform,
    class_uniform_list,
    repeated_choice,
    tile_origins,
)
from mmseg_uda.errors import UserError

ALL = [100] * 19


def per_class(drawn):
    classes, counts = np.unique(drawn[:, 0], return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize(
    ("images", "each", "random"), [(12387, 325, 6212), (2975, 78, 1493), (40, 1, 21)]
)
def test_half_of_an_epoch_shows_every_class_equally_often(images, each, random):
    drawn = class_uniform_list(images, ALL, 0.5, seed=0, epoch=0)
    assert per_class(drawn) == {-1: random, **dict.fromkeys(range(19), each)}
    picked = drawn[drawn[:, 0] == -1, 1]
    assert len(set(picked)) == len(picked)
    assert 0 <= picked.min() <= picked.max() < images


def test_a_class_without_centroids_makes_the_list_shorter():
    drawn = class_uniform_list(40, [5] * 18 + [0], 0.5, seed=0, epoch=0)
    assert len(drawn) == 39
    assert 18 not in per_class(drawn)


def test_too_few_things_come_round_again():
    for seed in range(20):
        drawn = repeated_choice(3, 7, np.random.default_rng(seed))
        assert sorted(np.bincount(drawn, minlength=3)) == [2, 2, 3]
        assert sorted(drawn[:3]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("height", "width", "origins"),
    [(1052, 1914, [(0, 0)]), (1024, 2048, [(0, 0), (1024, 0)]), (760, 1280, [])],
)
def test_tiles_are_whole(height, width, origins):
    assert tile_origins(height, width, 1024) == origins


def test_a_centroid_is_the_truncated_mean_of_its_class_in_the_tile():
    label = np.full((4, 10), 255, np.uint8)
    label[1, 2] = label[3, 3] = 7
    assert class_centroids(label, 19, 4) == [(7, 2, 2)]
    label[0, 5] = label[0, 4] = label[2, 4] = 3
    label[0, 9] = 5  # right of the last whole tile
    assert class_centroids(label, 19, 4) == [(7, 2, 2), (3, 4, 0)]
    assert class_centroids(label, 19, 5) == []


def test_centroids_equal_those_of_a_loop():
    label = np.random.default_rng(0).integers(0, 25, (33, 50), np.uint8)
    expected = []
    for x0, y0 in ((0, 0), (16, 0), (32, 0), (0, 16), (16, 16), (32, 16)):
        part = label[y0 : y0 + 16, x0 : x0 + 16]
        for c in range(19):
            y, x = np.nonzero(part == c)
            if y.size:
                expected.append((c, x0 + int(x.mean()), y0 + int(y.mean())))
    assert class_centroids(label, 19, 16) == expected
    for kind in (np.int16, np.int64):
        other = np.where(label > 18, np.where(label > 21, -1, 255), label.astype(kind))
        assert class_centroids(np.asfortranarray(other), 19, 16) == expected


def test_the_list_is_a_function_of_seed_and_epoch():
    first = class_uniform_list(60, ALL, 0.5, 3, 4)
    assert (first == class_uniform_list(60, ALL, 0.5, 3, 4)).all()
    assert (first != class_uniform_list(60, ALL, 0.5, 3, 5)).any()
    assert (first != class_uniform_list(60, ALL, 0.5, 4, 4)).any()


@pytest.fixture
def root(tmp_path):
    """20 frames of 80x48: class 0, and a 4x4 patch of class 5, 13 or 18 at a known place."""
    for i in range(20):
        label = np.zeros((48, 80), np.uint8)
        label[10:14, 40:44] = (5, 13, 18)[i % 3]
        write_image(tmp_path / f"images/{i:05d}.png", 48, 80, seed=i)
        write_label(tmp_path / f"labels/{i:05d}_labelTrainIds.png", label)
    return tmp_path


def pipeline(crop=(24, 24)):
    return [
        dict(type="LoadFrame"),
        dict(type="LoadTrainIds"),
        dict(type="RandomScaleCrop", crop_size=crop),
        dict(type="FlipFields"),
        dict(type="RandomColorJitter"),
        dict(type="RandomGaussianBlur"),
        dict(type="PackFields"),
    ]


def data_set(root, **options):
    source = dict(type="GTA", data_root=str(root), pipeline=pipeline())
    options = {"share": 1.0, "tile": 48, **options}
    return DATASETS.build(
        dict(type="DomainPairDataset", source=source, class_uniform_sampling=options)
    )


def test_the_crop_shows_the_drawn_class(root):
    dataset = data_set(root)
    sampling = dataset.class_uniform_sampling
    shown = []
    for position in range(sampling.length):
        index, centroid = sampling.draw(0, position)
        if centroid is None or centroid[1] != 11:
            continue
        label = dataset[0, position]["source"]["data_samples"].gt_sem_seg.data
        patch = (5, 13, 18)[index % 3]
        shown.append(bool((label == patch).any()))
    # A centroid exactly at the border may lie one pixel outside.
    assert len(shown) == 3
    assert sum(shown) >= 2


def test_every_epoch_runs_through_a_list_of_its_own(root):
    sampling = data_set(root, share=0.95).class_uniform_sampling
    # m = int(0.95 * 20 / 19) = 1: one of each of four classes, and one random image
    assert sampling.length == 5
    for epoch in (0, 1, 7):
        drawn = [sampling.draw(2, 5 * epoch + i) for i in range(5)]
        assert sum(centroid is None for _, centroid in drawn) == 1
        listed = sampling.epoch_list(2, epoch)
        assert sorted(listed[:, 0]) == [-1, 0, 5, 13, 18]


def loaded(dataset, skip=0, count=6, workers=0, rank=0, world=1):
    sampler = PairSampler(dataset, seed=4)
    sampler.rank, sampler.world_size = rank, world
    sampler.skip(skip)
    loader = DataLoader(dataset, 2, sampler=sampler, num_workers=workers, collate_fn=pseudo_collate)
    batches = [batch["source"] for batch, _ in zip(loader, range(count), strict=False)]
    return [image.sum().item() for batch in batches for image in batch["inputs"]]


def test_a_resume_and_the_number_of_workers_change_no_sample(root):
    dataset = data_set(root, share=0.95)
    whole = loaded(dataset, count=10)  # four epochs
    assert loaded(data_set(root, share=0.95), skip=6, count=7) == whole[6:]
    assert loaded(dataset, workers=2, count=10) == whole


def test_ranks_deal_one_list_among_them(root):
    dataset = data_set(root, share=0.95)
    whole = loaded(dataset, count=6)
    ranks = [loaded(data_set(root, share=0.95), rank=r, world=2, count=3) for r in (0, 1)]
    assert [value for pair in zip(*ranks, strict=True) for value in pair] == whole


def test_centroids_are_computed_once_for_all_trainings(root, monkeypatch):
    seen = []
    read = class_uniform.read_train_ids
    monkeypatch.setattr(
        class_uniform, "read_train_ids", lambda path, *rest: seen.append(path) or read(path, *rest)
    )
    first = data_set(root).class_uniform_sampling
    assert len(seen) == 20
    again = data_set(root).class_uniform_sampling
    assert len(seen) == 20
    for ours, theirs in zip(first.centroids, again.centroids, strict=True):
        assert (ours == theirs).all()
    data_set(root, tile=40)  # other tiles, other centroids
    assert len(seen) == 40
    write_label(root / "labels/00000_labelTrainIds.png", np.full((48, 80), 9))
    assert data_set(root).class_uniform_sampling.centroids[9].tolist() == [[0, 23, 23]]
    assert len(seen) == 60
    assert len(list(root.glob("centroids_*.json"))) == 3


def test_mistakes_are_answered(root):
    with pytest.raises(UserError, match=r"(?s)no tile of 1024x1024.*at most 760"):
        data_set(root, tile=1024)
    with pytest.raises(UserError, match=r"(?s)no option 'tiles'.*share, tile"):
        data_set(root, tiles=3)
    with pytest.raises(UserError, match=r"share=1.5"):
        data_set(root, share=1.5)
    plain = GTA(data_root=str(root), pipeline=[dict(type="LoadFrame")])
    with pytest.raises(UserError, match="RandomScaleCrop"):
        ClassUniformSampling(plain)
    source = dict(type="GTA", data_root=str(root), pipeline=pipeline())
    both = dict(rare_class_sampling={}, class_uniform_sampling={})
    with pytest.raises(UserError, match="both choose the source image"):
        DATASETS.build(dict(type="DomainPairDataset", source=source, **both))


def test_classes_that_no_tile_shows_are_named(root, monkeypatch):
    told = []
    monkeypatch.setattr(class_uniform, "print_log", lambda text, **options: told.append(text))
    sampling = data_set(root).class_uniform_sampling
    names = sampling.dataset.taxonomy.classes
    absent = [name for name, rows in zip(names, sampling.centroids, strict=True) if not len(rows)]
    (text,) = told
    assert absent and f"shows {', '.join(absent)};" in text
