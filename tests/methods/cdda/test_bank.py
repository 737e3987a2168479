"""Drawing banks, reading them, and banks that do not fit."""

import json
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from child import end_of, start, wait_for
from depth_world import CROP, pair, pair_config, write_world

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda import (
    DepthBank,
    ResidentSearch,
    bank_builder,
    build_bank,
    count_bank,
    drawing,
)
from mmseg_uda.methods.cdda.drawing import draws_of_training

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def data(world):
    return pair(world)


@pytest.fixture(scope="module")
def built(data, tmp_path_factory):
    """A bank of seven entries."""
    out = tmp_path_factory.mktemp("banks") / "bank"
    return build_bank(draws_of_training(data, count=7), out, workers=0)


@pytest.fixture
def copied(built, tmp_path):
    """The same, to be damaged."""
    import shutil

    return Path(shutil.copytree(built, tmp_path / "bank"))


def content(folder):
    """Every file of a bank."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_there_are_exactly_as_many_entries_as_asked_for(built):
    bank = DepthBank.open(built)
    assert len(bank) == 7 and bank.counts.shape == (19, 7, 256)
    for kind in ("images", "labels", "depth"):
        names = sorted(p.name for p in (built / kind).iterdir())
        assert names == [f"{n}.png" for n in range(7)]
    assert len((built / "index.jsonl").read_text().splitlines()) == 7
    assert sorted(p.name for p in built.iterdir()) == [
        "counts.npy", "depth", "images", "index.jsonl", "labels", "meta.json",
    ]  # fmt: skip
    assert bank.meta.crop_size == CROP and bank.meta.classes[8] == "vegetation"


def test_counts_are_those_of_the_stored_crops(built):
    bank = DepthBank.open(built)
    for n in range(7):
        label = cv2.imread(str(built / f"labels/{n}.png"), cv2.IMREAD_UNCHANGED)
        depth = cv2.imread(str(built / f"depth/{n}.png"), cv2.IMREAD_UNCHANGED)
        expected = np.zeros((19, 256))
        for c, k in zip(label.ravel(), depth.ravel(), strict=True):
            if c != 255:
                expected[c, k] += 1
        assert np.array_equal(bank.counts[:, n], expected)
        assert bank.counts[:, n].sum() == (label != 255).sum() < label.size


def test_an_entry_is_a_crop_of_the_file_that_the_index_names(built, world):
    for line in map(json.loads, (built / "index.jsonl").read_text().splitlines()):
        image = cv2.imread(str(world / "gta/images" / line["file"]))
        y0, y1, x0, x1 = line["box"]
        expected = image[y0:y1, x0:x1]
        expected = expected[:, ::-1] if line["flip"] else expected
        assert np.array_equal(cv2.imread(str(built / f"images/{line['n']}.png")), expected)
        label = cv2.imread(str(built / f"labels/{line['n']}.png"), cv2.IMREAD_UNCHANGED)
        assert (label == line["class"]).sum() > 5  # min_pixels * min_crop_ratio


@pytest.mark.parametrize("workers", [1, 4])
def test_the_bank_does_not_depend_on_the_workers(built, data, tmp_path, workers):
    other = build_bank(draws_of_training(data, count=7), tmp_path / "bank", workers=workers)
    assert content(other) == content(built)


def test_seed_and_sampling_change_it(built, data, tmp_path):
    other = build_bank(draws_of_training(data, count=7, seed=1), tmp_path / "a", workers=0)
    assert DepthBank.open(other).fingerprint != DepthBank.open(built).fingerprint
    uniform = build_bank(draws_of_training(data, sampling="uniform"), tmp_path / "b", workers=0)
    lines = [json.loads(line) for line in (uniform / "index.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == [f"{i:05d}.png" for i in range(6)]
    assert {line["class"] for line in lines} == {None}


def test_the_training_draws_like_the_bank(built, data):
    """The bank shows what the data set shows at the same seed and position."""
    sample = data[0, 3]["source"]
    image = cv2.imread(str(built / "images/3.png")).transpose(2, 0, 1)
    assert np.array_equal(sample["inputs"].numpy(), image)


def test_building_again_does_nothing(built, data):
    before = {p: p.stat().st_mtime_ns for p in built.rglob("*")}
    build_bank(draws_of_training(data, count=7), built, workers=0)
    assert {p: p.stat().st_mtime_ns for p in built.rglob("*")} == before


def build_slowly(world, out):
    """Draws a crop every 0.3 s and keeps every two."""
    draw = drawing.BankDraws.__getitem__

    def slow(self, n):
        time.sleep(0.3)
        return draw(self, n)

    drawing.BankDraws.__getitem__ = slow
    bank_builder.SHARD = 2
    build_bank(draws_of_training(pair(world), count=7), out, workers=0)


def test_a_killed_build_goes_on(built, world, tmp_path, monkeypatch):
    """kill -9 after some crops; the finished bank equals one built in one go."""
    out = tmp_path / "bank"
    shard = tmp_path / "bank.partial/shards/0000002.npz"
    process = start(build_slowly, world, out)
    wait_for(shard.exists, process)
    os.kill(process.pid, signal.SIGKILL)
    assert end_of(process) == -signal.SIGKILL
    assert shard.exists() and not out.exists()
    drawn = []
    monkeypatch.setattr(bank_builder, "SHARD", 2)
    draw = drawing.BankDraws.__getitem__
    monkeypatch.setattr(
        drawing.BankDraws, "__getitem__", lambda self, n: drawn.append(n) or draw(self, n)
    )
    build_bank(draws_of_training(pair(world), count=7), out, workers=0)
    assert drawn and min(drawn) >= 4  # two shards of two were whole
    assert content(out) == content(built)
    assert not (tmp_path / "bank.partial").exists()


def test_another_bank_in_the_way_is_named(built, copied, data, tmp_path):
    other = draws_of_training(data, count=7, seed=5)
    with pytest.raises(UserError, match="other settings: seed 0 instead of 5"):
        build_bank(other, copied, workers=0)
    build_bank(other, copied, workers=0, force=True)
    assert DepthBank.open(copied).meta.seed == 5
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("")
    with pytest.raises(UserError, match="mine exists and holds no bank"):
        build_bank(other, tmp_path / "mine", workers=0)


def test_a_full_disk_is_told_before_it_is_full(data, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from mmseg_uda.methods.cdda import bank_builder

    monkeypatch.setattr(
        bank_builder.shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000)
    )
    with pytest.raises(UserError, match=r"needs about .* MiB, but .* 0\.0 MiB free"):
        build_bank(draws_of_training(data, count=9), tmp_path / "bank", workers=0)


def test_a_flipped_bit_in_a_published_matrix_is_told(built, tmp_path):
    folder = published(built, tmp_path / "gta_daformer")
    path = folder / "gta_7_distribution.pth"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"gta_7_distribution\.pth cannot be read: the check sum"):
        DepthBank.open(folder)


def published(built, folder, entries=None):
    """The bank as CDDA's own tool writes it."""
    folder.mkdir()
    counts = torch.from_numpy(np.array(DepthBank.open(built).counts)).permute(1, 0, 2).contiguous()
    torch.save(counts[:entries].clone(), folder / "gta_7_distribution.pth")
    for kind in ("images", "labels", "depth"):
        (folder / kind).mkdir()
        for n in range(7):
            picture = cv2.imread(str(built / kind / f"{n}.png"), cv2.IMREAD_UNCHANGED)
            if kind == "labels":
                picture = np.repeat(picture[..., None], 3, -1)
            cv2.imwrite(str(folder / kind / f"{n}.png"), picture)
    return folder


def test_banks_of_the_original_tool_are_read(built, tmp_path):
    folder = published(built, tmp_path / "gta_daformer")
    own = DepthBank.open(built)
    for path in (folder, folder / "gta_7_distribution.pth"):
        bank = DepthBank.open(path)
        assert len(bank) == 7 and bank.meta.crop_size == CROP
        assert np.array_equal(bank.counts, own.counts)
        assert bank.missing_crops() == []
        target = torch.from_numpy(np.array(own.counts[:, [5]])).transpose(0, 1)
        found = ResidentSearch(torch.from_numpy(bank.counts))(target)
        expected = ResidentSearch(torch.from_numpy(own.counts))(target)
        assert found.index.tolist() == expected.index.tolist() == [5]
        assert torch.equal(found.similarity, expected.similarity)
        for mine, theirs in zip(own.read_crop(3), bank.read_crop(3), strict=True):
            assert np.array_equal(mine, theirs)


def test_crops_of_the_original_tool_can_be_counted(built, data, tmp_path):
    folder = published(built, tmp_path / "gta_daformer")
    (folder / "gta_7_distribution.pth").unlink()
    count_bank(folder, draws_of_training(data, count=7).meta)
    assert np.array_equal(DepthBank.open(folder).counts, DepthBank.open(built).counts)


def test_crops_first_histograms_later(built, data, tmp_path):
    draws = draws_of_training(data, count=7)
    out = build_bank(draws, tmp_path / "bank", workers=0, histograms=False)
    with pytest.raises(UserError, match="crops, but no histograms.*\n.*--not_get_images"):
        DepthBank.open(out)
    count_bank(out, draws.meta)
    assert DepthBank.open(out).fingerprint == DepthBank.open(built).fingerprint


JUNK = np.random.default_rng(0).bytes(20_000)


def change_meta(bank, **values):
    path = bank / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def drop_last_line(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda b: (b / "counts.npy").write_bytes(b"no array"), "is damaged"),
        (lambda b: os.truncate(b / "counts.npy", 5000), "is damaged"),
        (lambda b: (b / "meta.json").write_text("{"), r"meta\.json cannot be read"),
        (lambda b: (b / "meta.json").write_text('{"format": 9}'), "is not of format 1"),
        (lambda b: (b / "meta.json").write_text('{"format": 1}'), r"meta\.json is damaged"),
        (lambda b: (b / "meta.json").write_text("[1, 2]"), "is not of format 1"),
        (lambda b: change_meta(b, count="7"), r"meta\.json is damaged: count '7'"),
        (lambda b: change_meta(b, num_classes=-3), r"meta\.json is damaged: num_classes -3"),
        (lambda b: change_meta(b, crop_size=[1]), r"meta\.json is damaged: crop_size \(1,\)"),
        (lambda b: change_meta(b, classes=5), r"meta\.json is damaged: 'int' object"),
        (lambda b: change_meta(b, seed=10**30), r"meta\.json is damaged: seed 10{30}"),
        (lambda b: change_meta(b, counts_sha256=[1]), r"meta\.json is damaged: counts_sha256"),
        (lambda b: (b / "index.jsonl").write_text("{}\n"), "is damaged"),
        (lambda b: (b / "index.jsonl").write_text("[1]\n" * 7), "is damaged"),
        (lambda b: (b / "index.jsonl").write_bytes(JUNK), "is damaged"),
        (lambda b: drop_last_line(b / "index.jsonl"), "lists 6 crops instead of 7"),
        (lambda b: (b / "meta.json").write_bytes(JUNK), r"meta\.json cannot be read"),
        (lambda b: (b / "counts.npy").write_bytes(JUNK), "is damaged"),
        (lambda b: (b / "counts.npy").unlink(), "is damaged"),
        (lambda b: (b / "meta.json").unlink(), "no bank of source crops"),
    ],
)
def test_damaged_files_are_named(copied, damage, words):
    damage(copied)
    with pytest.raises(UserError, match=words) as error:
        DepthBank.open(copied)
    assert "bank" in error.value.message and "build_depth_bank.py" in error.value.fix


def test_a_flipped_byte_of_the_counts_is_noticed(copied):
    with (copied / "counts.npy").open("r+b") as file:
        file.seek(20_000)
        byte = file.read(1)
        file.seek(20_000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(UserError, match=r"counts\.npy is damaged: its check sum"):
        DepthBank.open(copied)


def test_exchanged_damaged_and_missing_crops_are_named(copied):
    bank = DepthBank.open(copied)
    (copied / "images/2.png").write_bytes((copied / "images/3.png").read_bytes())
    with pytest.raises(UserError, match=r"images/2\.png is not the file"):
        bank.read_crop(2)
    (copied / "labels/4.png").unlink()
    assert bank.missing_crops() == ["labels/4.png"]
    with pytest.raises(UserError, match=r"labels/4\.png is missing"):
        bank.read_crop(4)


def test_damaged_published_files_are_named(tmp_path):
    file = tmp_path / "gta_7_distribution.pth"
    with pytest.raises(UserError, match="no bank of source crops"):
        DepthBank.open(file)
    for junk in (b"", b"nothing", JUNK, b"PK\3\4" + JUNK, b"\x80\2" + JUNK, b"\x93NUMPY" + JUNK):
        file.write_bytes(junk)
        with pytest.raises(UserError, match=r"gta_7_distribution\.pth cannot be read"):
            DepthBank.open(file)
    for pixels in (-1.0, float("nan"), float("inf")):
        torch.save(torch.full((7, 3, 256), pixels), file)
        with pytest.raises(UserError, match="numbers that count no pixels"):
            DepthBank.open(file)
    torch.save({"a": 1}, file)
    with pytest.raises(UserError, match=r"holds no \(N, classes, 256\) matrix"):
        DepthBank.open(file)


def test_missing_depth_of_the_source_is_named(tmp_path):
    root = write_world(tmp_path, frames=2)
    (root / "gta/depth_any/00001.png").unlink()
    with pytest.raises(UserError, match="1 of 2 images have no depth file") as error:
        draws_of_training(pair(root))
    assert "render_depth.py" in error.value.fix


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampling": "nearest"}, "sampling='nearest'"),
        ({"count": 0}, "count=0"),
    ],
)
def test_impossible_options_are_named(data, options, words):
    with pytest.raises(UserError, match=words):
        draws_of_training(data, **options)


def test_sampling_by_class_needs_it_in_the_config(world):
    without = pair(world, rare_class_sampling=None)
    with pytest.raises(UserError, match="rare class sampling, which the config switches off"):
        draws_of_training(without)
    assert len(draws_of_training(without, sampling="uniform")) == 6


def test_the_second_joint_crop_is_made_too(world, tmp_path):
    draws = draws_of_training(pair(world, sync_crop_size=(16, 24)), count=3)
    bank = DepthBank.open(build_bank(draws, tmp_path / "bank", workers=0))
    assert bank.meta.crop_size == (16, 24)
    assert bank.read_crop(1)[0].shape == (16, 24, 3)


def test_no_target_is_needed(world):
    config = pair_config(world, target=None)
    from mmseg.registry import DATASETS

    assert len(draws_of_training(DATASETS.build(config), count=4)) == 4
