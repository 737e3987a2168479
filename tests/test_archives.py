"""Archives: files of other versions and tools that must load, and what a check sum changes."""

import io
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from mmengine.runner import save_checkpoint

from mmseg_uda.archives import DamagedError, check_archive, read_arrays, seal
from mmseg_uda.models.weights import atomic_save, read_checkpoint

STATE = {"layer.weight": torch.arange(12.0).reshape(3, 4)}


def without_checksums(path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(state_dict=STATE), path)
    finally:
        torch.serialization.set_crc32_options(True)


WRITERS = {
    "torch": lambda path: torch.save(dict(state_dict=STATE), path),
    "torch before 1.6": lambda path: torch.save(
        dict(state_dict=STATE), path, _use_new_zipfile_serialization=False
    ),
    "mmengine": lambda path: save_checkpoint(dict(state_dict=STATE, meta={}), str(path)),
    "no check sums": without_checksums,
    "this project": lambda path: atomic_save(dict(state_dict=STATE), path),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", ["weights.pth", "Gewichte für Köln.pth"])
def test_files_of_all_writers_load(writer, name, tmp_path):
    path = tmp_path / name
    WRITERS[writer](path)
    check_archive(path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["layer.weight"], STATE["layer.weight"])


def test_a_sealed_file_is_an_ordinary_one_for_torch(tmp_path):
    path = tmp_path / "weights.pth"
    atomic_save(STATE, path)
    for mmap in (False, True):
        assert torch.equal(torch.load(path, mmap=mmap)["layer.weight"], STATE["layer.weight"])


def test_equal_content_has_equal_seals():
    contents = []
    for _ in range(2):
        buffer = io.BytesIO()
        torch.save(STATE, buffer)
        seal(buffer)
        contents.append(buffer.getvalue())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("missing", [1, 20, 30, 200, 1200])
@pytest.mark.parametrize("writer", ["this project", "torch"])
def test_truncated_files_are_told(missing, writer, tmp_path):
    path = tmp_path / "weights.pth"
    WRITERS[writer](path)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(DamagedError):
        check_archive(path)


def test_a_block_of_zeros_is_told(tmp_path):
    """What a power cut leaves where data had not reached the disk."""
    path = tmp_path / "weights.pth"
    torch.save(torch.rand(10_000), path)
    content = bytearray(path.read_bytes())
    content[8192:12288] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="the check sum of its record weights/data/0 is wrong"):
        check_archive(path)


def test_headers_of_arrays_are_parsed_in_one_thread_at_a_time(tmp_path, monkeypatch):
    """Python 3.11's parser fails now and then in several: one image of thousands was lost."""
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(5), b=np.ones((2, 3)))
    inside, most = [], []
    read_array = np.lib.format.read_array

    def slow(*args, **kwargs):
        inside.append(None)
        most.append(len(inside))
        time.sleep(0.005)
        inside.pop()
        return read_array(*args, **kwargs)

    monkeypatch.setattr(np.lib.format, "read_array", slow)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read_arrays, [path] * 8))
    assert max(most) == 1 and len(most) == 16
    assert all(x["a"].tolist() == [0, 1, 2, 3, 4] and x["b"].shape == (2, 3) for x in found)
