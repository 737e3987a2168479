"""Drill: single bits of a file that flip on the disk or in a transfer."""

import io
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fixed_run import config

from mmseg_uda.archives import DamagedError, check_archive, read_arrays, seal
from mmseg_uda.engine import build_runner
from mmseg_uda.engine.checkpoint import newest_first
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import read_checkpoint


def train(work_dir, steps=4, **changes):
    runner = build_runner(config(work_dir, steps, **changes))
    runner.train()
    return runner


def flip(content, position, bit=None):
    """The content with one bit flipped; without ``bit`` another one at each position."""
    changed = bytearray(content)
    changed[position] ^= 1 << (position % 8 if bit is None else bit)
    return bytes(changed)


def regions(content):
    """(start, end) of every kind of bytes of a zip archive: of its first and its last records."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records, start = archive.infolist(), archive.start_dir
    found = []
    for number, record in enumerate(records):
        if 3 <= number < len(records) - 2:
            continue
        name, extra = struct.unpack_from("<HH", content, record.header_offset + 26)
        header = record.header_offset + 30
        data = header + name + extra
        end = data + record.file_size
        found += [
            ("local header", record.header_offset, header),
            ("name", header, header + name),
            ("padding", header + name, data),
            ("record", data, end),
            ("descriptor", end, end + 16),
        ]
    size = len(content)
    listed = [("directory", start, start + 400), ("directory", size - 500, size - 98)]
    return [*found, *listed, ("end", size - 150, size)]


def positions(content):
    """Bytes of all regions, up to 10 of each, and others all over the file."""
    chosen = set(range(0, len(content), len(content) // 100))
    for _, start, end in regions(content):
        chosen.update(range(start, end, max(1, (end - start) // 9)))
    return sorted(chosen)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The newest checkpoint of a run, as bytes."""
    run = tmp_path_factory.mktemp("flips") / "run"
    train(run)
    return newest_first(run)[0].read_bytes()


def test_every_bit_of_our_checkpoints_counts(checkpoint, tmp_path):
    assert {name for name, *_ in regions(checkpoint)} >= {"padding", "record", "directory", "end"}
    path = tmp_path / "iter_4.pth"
    silent = []
    for position in positions(checkpoint):
        path.write_bytes(flip(checkpoint, position))
        try:
            read_checkpoint(path)
        except UserError as error:
            assert str(path) in str(error)
            continue
        silent.append(position)
    assert silent == []


def test_no_bit_of_other_checkpoints_changes_a_number(tmp_path):
    """Of files that torch wrote without us, whose bytes between the records have no check sum."""
    generator = torch.Generator().manual_seed(0)
    state = {f"layer{i}.weight": torch.rand(3, 5, generator=generator) for i in range(3)}
    path = tmp_path / "weights.pth"
    torch.save(dict(state_dict=state, meta=dict(classes=("a", "b"))), path)
    content = path.read_bytes()
    # Which records are folders: torch leaves the memory of one as it is.
    folder = content.index(b"/data/1", content.index(b"PK\x01\x02")) - len("weights") - 8
    noticed = 0
    for position, bit in [(folder, 4), *((p, None) for p in range(0, len(content), 3))]:
        path.write_bytes(flip(content, position, bit))
        try:
            found = read_checkpoint(path)
        except UserError:
            noticed += 1
            continue
        assert found["state_dict"].keys() == state.keys(), position
        assert all(torch.equal(found["state_dict"][n], v) for n, v in state.items()), position
        assert found["meta"] == dict(classes=("a", "b")), position
    assert noticed > len(content) / 6


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_bit_of_arrays_changes_a_number(save, tmp_path):
    arrays = dict(
        fingerprint=np.array("of something"),
        runs=np.arange(600).reshape(20, 30) % 7,
        score=np.linspace(0, 1, 50, dtype=np.float32),
    )
    path = tmp_path / "record.npz"
    save(path, **arrays)
    content = path.read_bytes()
    # How long an entry of the list is: the next ones are skipped with it.
    lengths = [e.start() + k for e in re.finditer(b"PK\x01\x02", content) for k in range(28, 34)]
    flips = [(position, bit) for position in lengths for bit in range(8)]
    for position, bit in [*flips, *((p, None) for p in range(0, len(content), 3))]:
        path.write_bytes(flip(content, position, bit))
        try:
            found = read_arrays(path)
        except Exception:  # what numpy and zipfile raise; their callers turn it into a message
            continue
        assert found.keys() == arrays.keys(), position
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays), position
        assert all(found[name].dtype == arrays[name].dtype for name in arrays), position


def in_the_middle_of(path, name):
    """Position of a tensor's bytes in its checkpoint."""
    value = torch.load(path, weights_only=True)["state_dict"][name]
    return path.read_bytes().index(value.contiguous().numpy().tobytes()) + value.nbytes // 2


def test_a_run_resumes_from_the_checkpoint_before(tmp_path, capfd):
    run = tmp_path / "run"
    train(run)
    newest, before = newest_first(run)
    names = torch.load(newest, weights_only=True)["state_dict"]
    buffer = next(n for n in names if n.startswith("ema_model.") and "running_var" in n)
    newest.write_bytes(flip(newest.read_bytes(), in_the_middle_of(newest, buffer)))
    runner = build_runner(config(run, 6, log_level="WARNING"))
    resumed = []
    original = runner.resume
    runner.resume = lambda path, *a, **k: (resumed.append(Path(path)), original(path, *a, **k))
    runner.train()
    assert resumed == [before]
    output = capfd.readouterr()
    (line,) = [part for part in (output.out + output.err).splitlines() if "is damaged" in part]
    assert "WARNING" in line and str(newest) in line
    train(tmp_path / "whole", 6)
    expected, found = (
        torch.load(folder / "iter_6.pth", weights_only=True)["state_dict"]
        for folder in (tmp_path / "whole", run)
    )
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.parametrize("way", ["load_from", "pretrained"])
def test_a_training_does_not_start_from_damaged_weights(tmp_path, way):
    path = tmp_path / "weights.pth"
    runner = build_runner(config(tmp_path / "first", 1))
    part = runner.model.model if way == "load_from" else runner.model.model.backbone
    torch.save(part.state_dict(), path)
    name = "decode_head.conv_seg.weight" if way == "load_from" else next(iter(part.state_dict()))
    position = path.read_bytes().index(part.state_dict()[name].numpy().tobytes())
    if way == "load_from":
        changes = dict(load_from=str(path), resume=False)
    else:
        init = dict(type="BackboneWeights", checkpoint=str(path))
        changes = {"model.backbone.init_cfg": init}
    path.write_bytes(flip(path.read_bytes(), position))
    with pytest.raises(UserError, match=r"weights\.pth is damaged: the check sum of its record"):
        train(tmp_path / "damaged", 1, **changes)


def test_check_sums_need_little_memory(tmp_path):
    path = tmp_path / "large.pth"
    torch.save({str(i): torch.zeros(8_000_000) for i in range(3)}, path)  # 100 MB
    for sealed in (False, True):
        if sealed:
            with path.open("r+b") as file:
                seal(file)
        tracemalloc.start()
        check_archive(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000_000
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(DamagedError):
        check_archive(path)
