"""The trackers behind ``--log``: what arrives there, also after a resume."""

import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from fixed_run import config
from mmengine.config import Config

from mmseg_uda import loggers
from mmseg_uda.engine import build_runner
from mmseg_uda.errors import UserError
from mmseg_uda.visualization import MlflowBackend, WandbBackend

ROOT = Path(__file__).parents[2]
LOSS = "decode.loss_seg"


def train(folder, steps, *names, **changes):
    cfg = config(folder, steps, **changes)
    loggers.add_loggers(cfg, names)
    build_runner(cfg).train()


def test_off_by_default_and_each_or_all():
    cfg = Config(dict(work_dir="work_dirs/x", visualizer=dict(type="SegLocalVisualizer")))
    loggers.add_loggers(cfg, [])
    assert [b["type"] for b in cfg.visualizer.vis_backends] == ["LocalVisBackend"]


def test_a_backend_of_the_config_is_not_doubled(tmp_path):
    backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
    cfg = Config(dict(work_dir=str(tmp_path), visualizer=dict(vis_backends=backends)))
    loggers.add_loggers(cfg, ["tensorboard"])
    assert [b["type"] for b in cfg.visualizer.vis_backends] == [b["type"] for b in backends]


def test_runs_keep_their_id_when_they_resume(tmp_path, monkeypatch):
    first = loggers.run_id(tmp_path, "wandb", resume=True)
    assert loggers.run_id(tmp_path, "mlflow", resume=True) != first
    assert loggers.run_id(tmp_path, "wandb", resume=True) == first
    assert loggers.run_id(tmp_path, "wandb", resume=False) != first
    monkeypatch.setenv("RANK", "1")
    assert loggers.run_id(tmp_path, "wandb", resume=False) == ""


@pytest.mark.parametrize("name", list(loggers.LOGGERS))
def test_a_missing_package_is_named_with_its_command(name, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=f"(?s)--log {name}.*pip install {name}"):
        loggers.require_loggers([name])


def test_the_tool_says_so_before_anything_is_loaded(tmp_path):
    config = tmp_path / "job.py"
    config.write_text("raise RuntimeError('loaded')")
    code = (
        "import sys, importlib.util as u, runpy\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'mlflow' else find(name, *a)\n"
        f"sys.argv = ['train.py', {str(config)!r}, '--log', 'mlflow']\n"
        "runpy.run_path('tools/train.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install mlflow" in done.stderr and "Traceback" not in done.stderr


def test_tensorboard_holds_scalars_and_panels_and_goes_on_after_a_resume(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    panels = {"default_hooks.debug_panels.interval": 2}
    train(tmp_path, 4, "tensorboard", **panels)
    train(tmp_path, 6, "tensorboard", **panels)
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0, "scalars": 0}).Reload()
    assert [e.step for e in events.Scalars(LOSS)] == [2, 4, 6]
    assert all(e.value > 0 for e in events.Scalars(LOSS))
    pictures = events.Images("debug_panels")
    assert [e.step for e in pictures] == [2, 4, 6]
    assert pictures[0].encoded_image_string.startswith(b"\x89PNG")


class FakeRun:
    """Stands in for a W&B run."""

    def __init__(self):
        self.logged, self.finished = [], 0
        self.config = types.SimpleNamespace(update=lambda value, **k: self.logged.append(value))
        self.metrics = []

    def define_metric(self, name, **options):
        self.metrics.append((name, options))

    def log(self, values):
        self.logged.append(values)

    def finish(self):
        self.finished += 1


@pytest.fixture
def fake_wandb(monkeypatch):
    """Stands in for the wandb package."""
    module = types.ModuleType("wandb")
    module.run, module.calls = FakeRun(), []
    module.init = lambda **options: module.calls.append(options) or module.run
    module.Image = lambda picture: ("picture", picture.shape)
    module.__spec__ = types.SimpleNamespace(name="wandb")
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_gets_every_number_with_its_iteration(fake_wandb, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    backend = WandbBackend(str(tmp_path), run_id="abc", run_name="job", group="exp90")
    assert fake_wandb.calls == []  # nothing happens before something is logged
    backend.add_scalars({"loss": 1.5}, step=40)
    backend.add_scalar("mIoU", 30.0, step=50)
    backend.add_image("debug_panels", np.zeros((2, 3, 3), np.uint8), step=60)
    backend.close()
    (init,) = fake_wandb.calls
    assert (init["project"], init["id"], init["name"], init["group"], init["resume"]) == (
        "theirs",
        "abc",
        "job",
        "exp90",
        "allow",
    )
    assert fake_wandb.run.logged == [
        {"loss": 1.5, "iteration": 40},
        {"mIoU": 30.0, "iteration": 50},
        {"debug_panels": ("picture", (2, 3, 3)), "iteration": 60},
    ]
    assert ("*", {"step_metric": "iteration"}) in fake_wandb.run.metrics
    assert fake_wandb.run.finished == 1


def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(tmp_path, 4, "wandb")
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    (record,) = run.glob("*.wandb")
    assert record.stem == "run-" + loggers.run_id(tmp_path, "wandb", resume=True)
    content = record.read_bytes()
    assert LOSS.encode() in content and b"iteration" in content


def test_mlflow_in_a_local_database_goes_on_after_a_resume(tmp_path):
    pytest.importorskip("mlflow.store.tracking.sqlalchemy_store")
    from mlflow import MlflowClient

    folder = tmp_path / "exp90" / "job"
    panels = {"default_hooks.debug_panels.interval": 4}
    train(folder, 4, "mlflow", **panels)
    train(folder, 6, "mlflow", **panels)
    client = MlflowClient(f"sqlite:///{tmp_path / 'exp90' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("exp90")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "job" and run.info.status == "FINISHED"
    assert [m.step for m in client.get_metric_history(run.info.run_id, LOSS)] == [2, 4, 6]
    assert run.data.params["uda.type"] == "SelfTraining"
    names = [f.path for f in client.list_artifacts(run.info.run_id)]
    assert "config.py" in names and "images" in names


def test_an_unreachable_mlflow_server_costs_no_training(tmp_path, monkeypatch):
    reported = []
    monkeypatch.setattr(
        "mmseg_uda.visualization.background.print_log", lambda text, *a, **k: reported.append(text)
    )
    fake = types.ModuleType("mlflow")
    fake.__spec__ = types.SimpleNamespace(name="mlflow")

    def unreachable(tracking_uri):
        raise ConnectionError(f"no answer from {tracking_uri}")

    fake.MlflowClient = unreachable
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    backend = MlflowBackend(str(tmp_path / "run" / "mlflow"), run_id="abc")
    for step in range(3):
        backend.add_scalars({"loss": 1.0}, step)
    backend.close()
    assert reported == ["MLflow: ConnectionError: no answer from http://127.0.0.1:9"]
