from __future__ import annotations

import json
import os

import numpy as np
import pytest
from tiny_data import write_image, write_label, write_palette_label

from mmseg_uda.datasets import GTA, class_pixel_counts, label_cache, statistics
from mmseg_uda.errors import UserError
from mmseg_uda.labels import convert_gta

RIGHT = [1, 9, 14, 16]  # class in the right half of each frame


@pytest.fixture
def decodes(monkeypatch):
    """Counts how many label files are read."""
    seen = []
    read = statistics.read_label
    monkeypatch.setattr(statistics, "read_label", lambda path: seen.append(path) or read(path))
    return seen


def expected_counts():
    counts = np.zeros((4, 19), np.int64)
    counts[:, 0] = 1200
    counts[range(4), RIGHT] = 1200
    return counts


def test_counted_when_missing_and_kept(gta_root, decodes):
    dataset = GTA(data_root=str(gta_root))
    assert (class_pixel_counts(dataset) == expected_counts()).all()
    assert len(decodes) == 4
    assert (class_pixel_counts(GTA(data_root=str(gta_root))) == expected_counts()).all()
    assert len(decodes) == 4


def test_counted_anew_when_a_label_changes(gta_root, decodes):
    class_pixel_counts(GTA(data_root=str(gta_root)))
    write_label(gta_root / "labels/00000_labelTrainIds.png", np.full((40, 60), 7))
    counts = class_pixel_counts(GTA(data_root=str(gta_root)))
    assert counts[0, 7] == 2400


def test_one_count_serves_every_label_map(gta_root, decodes):
    class_pixel_counts(GTA(data_root=str(gta_root)))
    counts = class_pixel_counts(GTA(data_root=str(gta_root), label_map="gta16"))
    assert len(decodes) == 4
    assert counts.sum(0)[[0, 1, 8, 13]].tolist() == [4800, 1200, 1200, 1200]
    assert counts[:, [9, 14, 16]].sum() == 0


def test_published_file_is_used_without_decoding(tmp_path, decodes):
    for i in range(2):
        write_image(tmp_path / f"images/{i}.png", 1, 4)
        write_palette_label(tmp_path / f"labels/{i}.png", np.array([[7, 21, 22, 22]]))
    convert_gta(tmp_path, nproc=1)
    counts = class_pixel_counts(GTA(data_root=str(tmp_path)))
    assert counts[0, [0, 8, 9]].tolist() == [1, 1, 2]
    merged = class_pixel_counts(GTA(data_root=str(tmp_path), label_map="gta16"))
    assert merged[0, [0, 8, 9]].tolist() == [1, 3, 0]
    assert decodes == []


def published(root, names, pixels):
    rows = [{"0": p, "file": f"/elsewhere/labels/{n}"} for n, p in zip(names, pixels, strict=True)]
    (root / "sample_class_stats.json").write_text(json.dumps(rows))


def test_published_file_of_another_machine_and_a_subset(gta_root, decodes):
    published(gta_root, [f"{i:05d}_labelTrainIds.png" for i in range(9)], range(9))
    (gta_root / "images/00001.png").unlink()
    counts = class_pixel_counts(GTA(data_root=str(gta_root)))
    assert counts[:, 0].tolist() == [0, 2, 3]
    assert decodes == []


def test_published_file_that_covers_too_little_is_not_used(gta_root, decodes):
    published(gta_root, ["00000_labelTrainIds.png"], [7])
    assert (class_pixel_counts(GTA(data_root=str(gta_root))) == expected_counts()).all()


def test_equal_file_names_in_two_folders_are_kept_apart(tmp_path):
    for folder, value in (("a", 3), ("b", 4)):
        write_image(tmp_path / f"images/{folder}/0.png", 2, 2)
        write_label(tmp_path / f"labels/{folder}/0_labelTrainIds.png", np.full((2, 2), value))
    published(tmp_path, ["b/0_labelTrainIds.png", "a/0_labelTrainIds.png"], [20, 10])
    assert class_pixel_counts(GTA(data_root=str(tmp_path)))[:, 0].tolist() == [10, 20]


def test_damaged_published_file_is_named(gta_root):
    (gta_root / "sample_class_stats.json").write_text("[{}]")
    with pytest.raises(UserError, match="sample_class_stats.json is not a list of class counts"):
        class_pixel_counts(GTA(data_root=str(gta_root)))


def test_read_only_data_set_falls_back_to_the_user_cache(gta_root, tmp_path, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_CACHE", str(tmp_path / "cache"))
    write = label_cache.write_json

    def refuse(path, content, **options):
        if path.parent == gta_root:
            raise PermissionError(path)
        write(path, content)

    monkeypatch.setattr(label_cache, "write_json", refuse)
    assert (class_pixel_counts(GTA(data_root=str(gta_root))) == expected_counts()).all()
    assert not list(gta_root.glob("class_stats*"))
    assert len(list((tmp_path / "cache").glob("*/class_stats*.json"))) == 1
    assert (class_pixel_counts(GTA(data_root=str(gta_root))) == expected_counts()).all()


def test_parallel_counting_gives_the_same(gta_root, monkeypatch):
    monkeypatch.setattr(label_cache, "MIN_PARALLEL", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert (class_pixel_counts(GTA(data_root=str(gta_root))) == expected_counts()).all()


@pytest.mark.parametrize("parallel", [False, True])
def test_all_damaged_labels_are_named_at_once(gta_root, monkeypatch, parallel):
    monkeypatch.setattr(label_cache, "MIN_PARALLEL", 2 if parallel else 200)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for number in (0, 2):
        (gta_root / f"labels/0000{number}_labelTrainIds.png").write_bytes(b"no label")
    with pytest.raises(UserError, match="2 of 4 label files cannot be used") as error:
        class_pixel_counts(GTA(data_root=str(gta_root)))
    for number in (0, 2):
        assert f"0000{number}_labelTrainIds.png" in error.value.message
    assert not list(gta_root.glob("class_stats*"))


def test_id_outside_the_taxonomy_is_named(gta_root):
    write_label(gta_root / "labels/00001_labelTrainIds.png", np.full((40, 60), 99))
    with pytest.raises(UserError, match=r"00001_labelTrainIds\.png holds id 99"):
        class_pixel_counts(GTA(data_root=str(gta_root)))


def kept_counts(gta_root):
    class_pixel_counts(GTA(data_root=str(gta_root)))
    (path,) = gta_root.glob("class_stats_*.json")
    return path


@pytest.mark.parametrize("pixels", [-1200, 10**30, "1200", None])
def test_absurd_numbers_that_were_kept_are_named(gta_root, decodes, pixels):
    path = kept_counts(gta_root)
    content = json.loads(path.read_text())
    content["counts"]["00002_labelTrainIds.png"]["0"] = pixels
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{path} .* 00002_labelTrainIds.png: .* no number of"):
        class_pixel_counts(GTA(data_root=str(gta_root)))


@pytest.mark.parametrize("text", ["", "[1]", '{"counts": [1]}', '{"counts": {}}', "{", "5"])
def test_a_damaged_file_that_was_kept_is_counted_anew(gta_root, decodes, text):
    kept_counts(gta_root).write_text(text)
    assert (class_pixel_counts(GTA(data_root=str(gta_root))) == expected_counts()).all()
    assert len(decodes) == 8


def test_counts_that_can_be_kept_nowhere(gta_root, monkeypatch):
    (gta_root / "file").touch()
    monkeypatch.setenv("MMSEG_UDA_CACHE", str(gta_root / "file"))
    write = label_cache.write_json

    def read_only(path, *args, **kwargs):
        if path.parent == gta_root:
            raise PermissionError(13, "Permission denied")
        write(path, *args, **kwargs)

    monkeypatch.setattr(label_cache, "write_json", read_only)
    with pytest.raises(UserError, match=f"{gta_root}: Permission denied; .*file.*: Not a dir") as e:
        class_pixel_counts(GTA(data_root=str(gta_root)))
    assert "MMSEG_UDA_CACHE" in e.value.fix
