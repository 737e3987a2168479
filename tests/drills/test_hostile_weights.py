"""Drill: a file that runs code when it is unpickled, in every place where weights are read."""

import functools
import http.server
import io
import os
import pickle
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from fixed_run import config
from mmengine.logging import HistoryBuffer
from mmseg.registry import MODELS
from traps import Trap

from mmseg_uda.engine import build_runner
from mmseg_uda.engine.checkpoint import newest_first
from mmseg_uda.errors import UserError


def train(work_dir, steps=4, **changes):
    runner = build_runner(config(work_dir, steps, **changes))
    runner.train()
    return runner


@pytest.fixture
def sprung(tmp_path):
    return tmp_path / "the_trap_has_sprung"


@pytest.mark.parametrize("form", ["bare pickle", "torch.save"])
def test_the_newest_checkpoint_of_a_run_is_a_trap(tmp_path, sprung, form):
    run = tmp_path / "run"
    train(run)
    newest, before = newest_first(run)
    if form == "torch.save":
        torch.save(dict(state_dict={}, trap=Trap(sprung)), newest)
    else:
        newest.write_bytes(pickle.dumps(Trap(sprung)))
    runner = build_runner(config(run, 6))
    resumed = []
    original = runner.resume
    runner.resume = lambda path, *a, **k: (resumed.append(Path(path)), original(path, *a, **k))
    runner.train()
    assert resumed == [before]
    assert not sprung.exists()


def test_all_checkpoints_of_a_run_are_traps(tmp_path, sprung):
    run = tmp_path / "run"
    run.mkdir()
    torch.save(dict(state_dict={}, trap=Trap(sprung)), run / "iter_2.pth")
    with pytest.raises(UserError, match="No checkpoint in .* can be resumed"):
        train(run)
    assert not sprung.exists()


def test_the_config_text_of_a_resumed_checkpoint_is_a_trap(tmp_path, sprung):
    """mmengine executes ``meta.config``, as its forerunner called the text, when it resumes."""
    run = tmp_path / "run"
    train(run)
    newest = newest_first(run)[0]
    content = torch.load(newest, weights_only=True)
    content["meta"]["config"] = f"import os\nos.mkdir({str(sprung)!r})\n"
    torch.save(content, newest)
    assert train(run, 6).iter == 6
    assert not sprung.exists()


def test_load_from_is_a_trap(tmp_path, sprung):
    path = tmp_path / "weights.pth"
    torch.save(dict(state_dict={}, trap=Trap(sprung)), path)
    with pytest.raises(UserError, match=r"weights.pth is a pickle that is not weights.*mkdir"):
        train(tmp_path / "run", load_from=str(path), resume=False)
    assert not sprung.exists()


def bare_pickle(path, trap):
    path.write_bytes(pickle.dumps(dict(weight=trap)))


def torch_save(path, trap):
    torch.save(dict(state_dict=dict(weight=torch.ones(1)), trap=trap), path)


def old_torch_save(path, trap):
    torch.save(dict(weight=trap), path, _use_new_zipfile_serialization=False)


def tar(path, trap):
    """torch's first format: a tar of pickles."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(trap)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def numpy_object(path, trap):
    with path.open("wb") as file:
        np.save(file, np.array([trap]), allow_pickle=True)


def numpy_archive(path, trap):
    with path.open("wb") as file:
        np.savez(file, weight=np.array([trap]))


FORMS = [
    (torch_save, ".pth"),
    (torch_save, ".pt"),
    (torch_save, ".safetensors"),
    (old_torch_save, ".pth.tar"),
    (bare_pickle, ".pkl"),
    (bare_pickle, ".bin"),
    (tar, ".pth"),
    (numpy_object, ".npy"),
    (numpy_object, ".pth"),
    (numpy_archive, ".npz"),
    (numpy_archive, ".pth"),
]


@pytest.mark.parametrize("form, suffix", FORMS)
@pytest.mark.parametrize("kind", ["BackboneWeights", "Pretrained"])
def test_pretrained_weights_are_a_trap(tmp_path, sprung, kind, form, suffix):
    """Of our encoders, and of mmsegmentation's by mmengine's loader."""
    path = tmp_path / f"backbone{suffix}"
    form(path, Trap(sprung))
    backbone = MODELS.build(dict(BACKBONES[kind], init_cfg=dict(type=kind, checkpoint=str(path))))
    with pytest.raises(UserError, match=rf"backbone{suffix} (is a pickle|cannot be read)"):
        backbone.init_weights()
    assert not sprung.exists()


BACKBONES = {
    "BackboneWeights": dict(type="NanoBackbone", channels=(8, 12, 16, 24)),
    "Pretrained": dict(type="ResNet", depth=18),
}


class TestMmenginesLoader:
    """Stock networks' ``init_cfg=dict(type='Pretrained')``."""

    @pytest.fixture
    def address(self, tmp_path, monkeypatch):
        """Serves ``tmp_path/web`` at an address of this machine; downloads go to ``tmp_path``."""
        (tmp_path / "web").mkdir()
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
        handler = functools.partial(QuietHandler, directory=tmp_path / "web")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()

    def init(self, checkpoint, **options):
        init = dict(type="Pretrained", checkpoint=str(checkpoint), **options)
        backbone = MODELS.build(dict(BACKBONES["Pretrained"], init_cfg=init))
        backbone.init_weights()
        return backbone.state_dict()

    @pytest.mark.parametrize("form", [torch_save, old_torch_save])
    def test_an_address(self, tmp_path, sprung, address, form, monkeypatch):
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        form(tmp_path / "web/x.pth", Trap(sprung))
        with pytest.raises(UserError, match=r"http://127.0.0.1.*x.pth is a pickle.*mkdir"):
            self.init(f"{address}/x.pth")
        assert not sprung.exists()
        assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
        assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ

    def test_a_part_of_a_checkpoint(self, tmp_path, sprung):
        torch_save(tmp_path / "x.pth", Trap(sprung))
        with pytest.raises(UserError, match="x.pth is a pickle that is not weights"):
            self.init(tmp_path / "x.pth", prefix="backbone.")
        assert not sprung.exists()

    @pytest.mark.parametrize("place", ["file", "address"])
    def test_honest_weights_arrive(self, tmp_path, address, place):
        """With what mmengine writes beside them: logged numbers."""
        wanted = MODELS.build(BACKBONES["Pretrained"]).state_dict()
        history = HistoryBuffer(log_history=[1.0], count_history=[1])
        content = dict(
            state_dict=wanted, message_hub=dict(loss=history), meta=dict(n=np.float64(1))
        )
        torch.save(content, tmp_path / "web/x.pth")
        found = self.init(f"{address}/x.pth" if place == "address" else tmp_path / "web/x.pth")
        assert all(torch.equal(found[name], value) for name, value in wanted.items())

    def test_a_missing_file_is_told(self, tmp_path):
        with pytest.raises(UserError, match="no such weights: .*nowhere.pth"):
            self.init(tmp_path / "nowhere.pth")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line of log per request."""

    def log_message(self, *arguments):
        """Nothing."""


def test_the_trap_works(sprung):
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()
