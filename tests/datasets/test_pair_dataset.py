from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
import torch
import yaml
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATA_SAMPLERS, DATASETS
from tiny_data import write_label
from torch.utils.data import DataLoader

from mmseg_uda.datasets import DomainPairDataset, PairSampler
from mmseg_uda.datasets.randomness import permuted_index
from mmseg_uda.errors import UserError


def pipeline(label, crop=(16, 24)):
    steps = ["LoadFrame", "LoadTrainIds" if label else "MarkValid"]
    return [
        *({"type": step} for step in steps),
        {"type": "CropFields", "crop_size": crop},
        {"type": "FlipFields"},
        *([{"type": "PhotoMetricDistortion"}] if label else []),
        {"type": "PackFields"},
    ]


def pair_config(gta_root, cityscapes_root, crop=(16, 24), **options):
    source = {"type": "GTA", "data_root": str(gta_root), "pipeline": pipeline(True, crop)}
    target = {
        "type": "Cityscapes",
        "data_root": str(cityscapes_root),
        "images_only": True,
        "pipeline": pipeline(False, crop),
        "crop_pseudo_margins": [2, 4, 3, 3],
    }
    return {"type": "DomainPairDataset", "source": source, "target": target, **options}


RCS = {"min_pixels": 100, "class_temp": 0.1, "min_crop_ratio": 0.5}


@pytest.fixture(params=[None, RCS], ids=["pairs", "rare classes"])
def pairs(request, gta_root, cityscapes_root):
    cfg = pair_config(gta_root, cityscapes_root, rare_class_sampling=request.param)
    return DATASETS.build(cfg)


def batches(dataset, count, num_workers=0, skip=0, seed=3):
    sampler = DATA_SAMPLERS.build(
        {"type": "PairSampler"}, default_args={"dataset": dataset, "seed": seed}
    )
    if skip:
        sampler.skip(skip)
    loader = DataLoader(
        dataset, 2, sampler=sampler, num_workers=num_workers, collate_fn=pseudo_collate
    )
    iterator = iter(loader)
    return [next(iterator) for _ in range(count)]


def assert_equal(first, second):
    for one, two in zip(first, second, strict=True):
        for domain in ("source", "target"):
            for a, b in zip(one[domain]["inputs"], two[domain]["inputs"], strict=True):
                assert torch.equal(a, b)
            samples = zip(one[domain]["data_samples"], two[domain]["data_samples"], strict=True)
            for a, b in samples:
                assert a.img_path == b.img_path
                field = "gt_sem_seg" if domain == "source" else "valid_mask"
                assert torch.equal(a.get(field).data, b.get(field).data)


def test_item_holds_both_domains(pairs):
    item = pairs[3, 0]
    source, target = item["source"], item["target"]
    assert source["inputs"].shape == target["inputs"].shape == (3, 16, 24)
    assert source["inputs"].dtype == torch.uint8
    assert source["data_samples"].gt_sem_seg.data.shape == (1, 16, 24)
    assert target["data_samples"].valid_mask.data.shape == (1, 16, 24)
    assert "gt_sem_seg" not in target["data_samples"]


def test_the_same_position_gives_the_same_sample(pairs):
    np.random.seed(1)
    first = pseudo_collate([pairs[3, 7]])
    np.random.seed(2)
    random.seed(2)
    assert_equal([first], [pseudo_collate([pairs[3, 7]])])


def test_samples_do_not_depend_on_the_number_of_workers(pairs):
    reference = batches(pairs, 4)
    assert_equal(reference, batches(pairs, 4, num_workers=1))
    assert_equal(reference, batches(pairs, 4, num_workers=2))


def test_resume_continues_where_the_run_stopped(pairs):
    assert_equal(batches(pairs, 5)[3:], batches(pairs, 2, skip=6))


def test_seeds_give_different_samples(pairs):
    first, second = (batches(pairs, 4, seed=s) for s in (0, 1))
    images = [[b["source"]["inputs"][0] for b in run] for run in (first, second)]
    assert any(not torch.equal(a, b) for a, b in zip(*images, strict=True))


def test_global_random_states_are_left_alone(pairs):
    np.random.seed(5)
    random.seed(5)
    expected = np.random.random(), random.random()
    np.random.seed(5)
    random.seed(5)
    _ = pairs[0, 0]
    assert (np.random.random(), random.random()) == expected


def test_every_pair_comes_once_per_round(gta_root, cityscapes_root):
    dataset = DATASETS.build(pair_config(gta_root, cityscapes_root))
    assert len(dataset) == 12

    def round_of(number):
        return [
            tuple(pairs["data_samples"].img_path for pairs in dataset[3, i].values())
            for i in range(number * 12, number * 12 + 12)
        ]

    first, second = round_of(0), round_of(1)
    assert len(set(first)) == 12
    assert set(first) == set(second)
    assert first != second


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_permutation_holds_every_index_once(size):
    for epoch in range(2):
        positions = range(epoch * size, (epoch + 1) * size)
        assert sorted(permuted_index(p, size, seed=1) for p in positions) == list(range(size))


def test_permutation_looks_random():
    size = 27_965_000
    indices = np.array([permuted_index(p, size, seed=0) for p in range(2000)])
    assert abs(indices.mean() / size - 0.5) < 0.02
    assert abs(np.corrcoef(indices[:-1], indices[1:])[0, 1]) < 0.06
    assert len(set(indices // 2975)) > 1700  # most draws show another source frame


def test_order_without_shuffling(gta_root, cityscapes_root):
    dataset = DATASETS.build(pair_config(gta_root, cityscapes_root, rare_class_sampling=RCS))
    keys = iter(PairSampler(dataset, seed=0, shuffle=False))
    items = [dataset[next(keys)] for _ in range(5)]
    names = [i["source"]["data_samples"].img_path[-9:] for i in items]
    assert names == ["00000.png", "00001.png", "00002.png", "00003.png", "00000.png"]


def test_sampler_allocates_nothing_per_pair():
    class Pairs:
        def __len__(self):
            return 27_965_000

    tracemalloc.start()
    sampler = iter(PairSampler(Pairs(), seed=0))
    for _ in range(100):
        next(sampler)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_building_pairs_allocates_nothing_per_pair(gta_root, cityscapes_root):
    dataset = DATASETS.build(pair_config(gta_root, cityscapes_root))
    dataset.source.__class__ = type("Large", (type(dataset.source),), {"__len__": lambda s: 10**7})
    tracemalloc.start()
    DataLoader(dataset, 2, sampler=PairSampler(dataset, seed=0), collate_fn=pseudo_collate)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(dataset) == 3 * 10**7
    assert peak < 100_000


def test_ranks_share_the_positions(monkeypatch):
    def first(rank, skip=0):
        monkeypatch.setattr("mmseg_uda.datasets.sampler.get_dist_info", lambda: (rank, 2))
        sampler = PairSampler([], seed=7)
        sampler.skip(skip)
        iterator = iter(sampler)
        return [next(iterator) for _ in range(3)]

    assert first(0) == [(7, 0), (7, 2), (7, 4)]
    assert first(1) == [(7, 1), (7, 3), (7, 5)]
    assert first(1, skip=2)[0] == (7, 5)


def test_skip_counts_from_the_beginning():
    sampler = PairSampler([], seed=0)
    sampler.skip(4)
    sampler.skip(2)
    assert next(iter(sampler)) == (0, 2)
    with pytest.raises(ValueError, match="-1"):
        sampler.skip(-1)


def test_source_alone(gta_root, cityscapes_root):
    cfg = pair_config(gta_root, cityscapes_root, target=None, rare_class_sampling=RCS)
    dataset = DATASETS.build(cfg)
    assert len(dataset) == 4
    assert set(dataset[0, 0]) == {"source"}


def test_synchronised_crop_is_the_same_place_in_both(gta_root):
    both = {"type": "GTA", "data_root": str(gta_root)}
    steps = [{"type": "LoadFrame"}, {"type": "LoadTrainIds"}, {"type": "PackFields"}]
    source = {**both, "pipeline": steps}
    whole = DomainPairDataset(source, source)
    cropped = DomainPairDataset(source, source, sync_crop_size=(10, 20))
    index = next(i for i in range(16) if len(set(whole._pair(0, i))) == 1)
    item = cropped[0, index]
    image = item["source"]["inputs"]
    assert image.shape == (3, 10, 20)
    assert torch.equal(image, item["target"]["inputs"])
    assert item["source"]["data_samples"].gt_sem_seg.data.shape == (1, 10, 20)
    assert item["source"]["data_samples"].img_shape == (10, 20)
    boxes = {tuple(cropped[0, i]["source"]["inputs"][0, 0, :3].tolist()) for i in range(8)}
    assert len(boxes) > 1


def test_synchronised_crop_is_uniform_and_reaches_the_last_position(gta_root):
    """Frames of 40x60 pixels; 38x57 leaves 3 x 4 positions."""
    columns = np.tile(np.arange(60, dtype=np.uint8) % 19, (40, 1))
    rows = np.tile(np.arange(40, dtype=np.uint8)[:, None] % 19, (1, 60))
    for i in range(4):
        write_label(gta_root / f"labels/{i:05d}_labelTrainIds.png", columns if i % 2 else rows)
    steps = [{"type": "LoadFrame"}, {"type": "LoadTrainIds"}, {"type": "PackFields"}]
    source = {"type": "GTA", "data_root": str(gta_root), "pipeline": steps}
    dataset = DomainPairDataset(source, source, sync_crop_size=(38, 57))
    offsets = {"rows": [], "columns": []}
    for i in range(400):
        sample = dataset[0, i]["source"]["data_samples"]
        name = "columns" if int(sample.img_path[-5]) % 2 else "rows"
        offsets[name].append(int(sample.gt_sem_seg.data[0, 0, 0]))
    for name, positions in (("rows", 3), ("columns", 4)):
        share = np.bincount(offsets[name]) / len(offsets[name])
        assert len(share) == positions
        assert share == pytest.approx(np.full(positions, 1 / positions), abs=0.1)


def test_targets_are_drawn_uniformly_beside_rare_classes(gta_root, cityscapes_root):
    dataset = DATASETS.build(pair_config(gta_root, cityscapes_root, rare_class_sampling=RCS))
    drawn = [dataset[0, i]["target"]["data_samples"].img_path for i in range(300)]
    shares = [drawn.count(path) / 300 for path in sorted(set(drawn))]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.1)


def test_synchronised_crop_reaches_every_field(gta_root, cityscapes_root):
    cfg = pair_config(gta_root, cityscapes_root, sync_crop_size=(8, 8))
    item = DATASETS.build(cfg)[0, 0]
    assert item["target"]["data_samples"].valid_mask.data.shape == (1, 8, 8)


def test_domains_of_two_taxonomies_are_refused(tmp_path, gta_root, cityscapes_root):
    path = tmp_path / "own.yaml"
    entry = {"name": "road", "color": [0, 0, 0], "group": "flat", "prompts": ["road"]}
    path.write_text(yaml.safe_dump({"classes": [entry]}))
    cfg = pair_config(gta_root, cityscapes_root)
    cfg["target"]["taxonomy"] = str(path)
    with pytest.raises(UserError, match="differ in their classes"):
        DomainPairDataset(cfg["source"], cfg["target"])


def test_unknown_sampling_option_is_named(gta_root, cityscapes_root):
    cfg = pair_config(gta_root, cityscapes_root)
    with pytest.raises(UserError, match=r"no option 'temperature'"):
        DomainPairDataset(cfg["source"], cfg["target"], {"temperature": 0.01})


def test_damaged_file_is_named_from_a_worker(gta_root, cityscapes_root):
    dataset = DATASETS.build(pair_config(gta_root, cityscapes_root))
    for path in (gta_root / "images").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError) as error:
        batches(dataset, 1, num_workers=1)
    assert str(error.value).startswith(f"{gta_root}/images/")
    assert "Traceback" not in str(error.value)


@pytest.fixture
def labelled_cityscapes(cityscapes_root):
    """The target images with labels: id 3 everywhere."""
    for image in sorted(cityscapes_root.glob("leftImg8bit/train/*/*.png")):
        name = str(image.relative_to(cityscapes_root / "leftImg8bit"))
        name = name.replace("_leftImg8bit.png", "_gtFine_labelTrainIds.png")
        write_label(cityscapes_root / "gtFine" / name, np.full((40, 80), 3))
    return cityscapes_root


@pytest.mark.parametrize("rare_classes", [None, RCS], ids=["pairs", "rare classes"])
def test_target_labels_for_diagnosis_change_nothing_else(
    gta_root, labelled_cityscapes, rare_classes
):
    options = {"rare_class_sampling": rare_classes}
    plain = DATASETS.build(pair_config(gta_root, labelled_cityscapes, **options))
    options["target_labels_for_diagnosis"] = True
    labelled = DATASETS.build(pair_config(gta_root, labelled_cityscapes, **options))
    for position in range(4):
        one, other = plain[(3, position)], labelled[(3, position)]
        for domain in ("source", "target"):
            assert torch.equal(one[domain]["inputs"], other[domain]["inputs"])
        assert "diagnosis_label" not in one["target"]["data_samples"]
        sample = other["target"]["data_samples"]
        assert "gt_sem_seg" not in sample  # the name under which a loss would look for it
        assert sample.diagnosis_label.data.dtype == torch.uint8
        assert sample.diagnosis_label.data.unique().tolist() == [3]
        assert torch.equal(sample.valid_mask.data, one["target"]["data_samples"].valid_mask.data)


def test_target_labels_for_diagnosis_must_be_there(gta_root, cityscapes_root):
    cfg = pair_config(gta_root, cityscapes_root, target_labels_for_diagnosis=True)
    with pytest.raises(UserError, match="label"):
        DATASETS.build(cfg)


def test_target_labels_for_diagnosis_need_a_target(gta_root, cityscapes_root):
    cfg = pair_config(gta_root, cityscapes_root, target_labels_for_diagnosis=True)
    with pytest.raises(UserError, match="target_labels_for_diagnosis"):
        DATASETS.build({**cfg, "target": None})
