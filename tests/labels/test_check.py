from __future__ import annotations

import numpy as np
import pytest
from tiny_data import write_image, write_label

from mmseg_uda.errors import UserError
from mmseg_uda.labels import find_broken_files


@pytest.fixture
def root(tmp_path):
    for i in range(5):
        write_image(tmp_path / f"images/{i}.png", 8, 10)
        write_label(tmp_path / f"labels/{i}_labelTrainIds.png", np.full((8, 10), i))
    return tmp_path


@pytest.mark.parametrize("nproc", [1, 2])
def test_every_broken_file_is_found_in_one_go(root, nproc):
    (root / "images/0.png").write_bytes(b"no image")
    (root / "labels/1_labelTrainIds.png").unlink()
    write_label(root / "labels/2_labelTrainIds.png", np.full((8, 11), 2))
    write_label(root / "labels/3_labelTrainIds.png", np.full((8, 10), 33))
    errors = list(find_broken_files({"type": "GTA", "data_root": str(root)}, nproc))
    expected = ["0.png cannot be decoded", "1_labelTrainIds.png is missing", "has 11x8 pixels"]
    assert len(errors) == 4
    for error, part in zip(errors, [*expected, "holds id 33"], strict=True):
        assert part in str(error)


def test_sound_data_set_has_none(root):
    assert list(find_broken_files({"type": "GTA", "data_root": str(root)}, 1)) == []


def test_images_only_looks_at_images_only(root):
    (root / "labels/1_labelTrainIds.png").write_bytes(b"")
    cfg = {"type": "GTA", "data_root": str(root), "images_only": True}
    assert list(find_broken_files(cfg, 1)) == []


def test_no_images_at_all_is_an_error(tmp_path):
    with pytest.raises(UserError, match="images is missing"):
        list(find_broken_files({"type": "GTA", "data_root": str(tmp_path)}))
