import errno
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_uda.errors import no_space
from mmseg_uda.system_errors import LESS_MEMORY, explain, file_of


def caught(function):
    with pytest.raises(Exception) as error:
        function()
    return error.value


def write_text(path):
    with open(path, "w") as file:
        file.write("x" * 100_000)


def dump_json(path):
    with open(path, "w") as file:
        json.dump(["x" * 100_000], file)


def save_picture(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)).save(path)


def save_array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(100_000))


@pytest.mark.parametrize("write", [write_text, dump_json, save_picture, save_array])
def test_a_full_disk_names_the_file(tmp_path, write):
    """None of these writes tells its file; each has it open."""
    path = tmp_path / "full.png"
    path.symlink_to("/dev/full")
    known = explain(caught(lambda: write(str(path))))
    assert known is not None and known.message.startswith(f"No space left to write {path}.")
    assert "are free there" in known.message


def test_a_full_disk_without_a_file():
    known = explain(OSError(errno.ENOSPC, "No space left on device"))
    assert "No space left to write" in known.message and "TMPDIR" in known.fix


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "Permission denied"),
        (errno.EPERM, "Operation not permitted"),
        (errno.EROFS, "Read-only file system"),
        (errno.ENOTDIR, "Not a directory"),
        (errno.EISDIR, "Is a directory"),
        (errno.ELOOP, "Too many levels of symbolic links"),
        (errno.EFBIG, "File too large"),
        (errno.EMFILE, "Too many open files"),
        (errno.EIO, "Input/output error"),
        (errno.ESTALE, "Stale file handle"),
    ],
)
def test_a_file_that_cannot_be_used(number, words):
    known = explain(OSError(number, os.strerror(number), "/there/a_file.json"))
    assert known.message == f"/there/a_file.json cannot be used: {words}."


def test_the_target_of_a_rename_is_the_file(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").mkdir()
    error = caught(lambda: os.replace(tmp_path / "a", tmp_path / "b"))
    assert file_of(error) == str(tmp_path / "b")


def test_too_large_a_file_is_named(tmp_path):
    def write():
        with open(tmp_path / "big", "w") as file:
            assert file
            raise OSError(errno.EFBIG, "File too large")

    known = explain(caught(write))
    assert str(tmp_path / "big") in known.message and "ulimit -f" in known.fix


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Caught MemoryError in DataLoader worker process 0.\nOriginal Traceback ..."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4194304 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("Caught _ArrayMemoryError in worker: Unable to allocate 1.2 GiB for an array"),
        RuntimeError("could not create a primitive"),
        RuntimeError("can't start new thread"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_memory(error):
    known = explain(error)
    assert "emory does not suffice" in known.message and known.fix == LESS_MEMORY
    assert known.message.startswith("The GPU's") == ("CUD" in str(error))
    assert "\n" not in known.message


def test_memory_that_torch_refuses():
    known = explain(caught(lambda: torch.empty(1 << 50)))
    assert "The memory does not suffice: " in known.message and "4503599627370496" in known.message


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_12_34>: No space left (28)"
        ),
        RuntimeError("unable to write to file </torch_12_34>: No space left on device (28)"),
        RuntimeError("unable to open shared memory object </torch_1> in read-write mode"),
        RuntimeError(
            "DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory. Please try to raise your limit."
        ),
    ],
)
def test_shared_memory(error):
    known = explain(error)
    assert "/dev/shm has" in known.message and "num_workers" in known.fix


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a fault of the program"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("out of resource: shared memory, Required: 132096, Hardware limit: 101376"),
        KeyError("/dev/shm"),
        OSError("what a library says without a number"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ],
)
def test_faults_of_the_program_are_none_of_these(error):
    assert explain(error) is None


def test_free_space_is_that_of_the_file_s_disk(monkeypatch, tmp_path):
    asked = []
    usage = __import__("shutil").disk_usage
    monkeypatch.setattr("shutil.disk_usage", lambda path: (asked.append(path), usage(path))[1])
    no_space(tmp_path / "not/yet/there.pth")
    assert asked == [tmp_path]
