"""Visualizer backends for W&B and MLflow.

mmengine brings backends for both, which do not serve here: W&B's counts its own steps, so that a
resumed run shifts, and uploads the source folder; MLflow's needs the file store that MLflow 3
refuses, and one active run per process. TensorBoard's is used as it is.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization.vis_backend import BaseVisBackend

from mmseg_uda.loggers import PROJECT, require_loggers
from mmseg_uda.visualization.background import BackgroundWorker

#: Keys of the config whose values are shown beside a run.
SHOWN_KEYS = ("train_cfg", "optim_wrapper", "randomness")
MAX_PARAM = 500  # characters; MLflow refuses long values


class _RunBackend(BaseVisBackend):
    """A backend that knows its run by an id.

    Args:
        save_dir: Folder for local files.
        run_id: Identifies the run; the same id continues it.
        run_name: What people read.
        group: What belongs together, such as an experiment's table.
    """

    _env_initialized: bool

    def __init__(
        self, save_dir: str, run_id: str | None = None, run_name: str = "", group: str = ""
    ) -> None:
        super().__init__(save_dir)
        self.run_id = run_id
        self.run_name = run_name or Path(save_dir).parent.name
        self.group = group

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Logs one number."""
        self.add_scalars({name: value}, step)

    def add_graph(self, model: Any, data_batch: Any, **kwargs: Any) -> None:
        """Nothing: a trainer is several networks, and its graph is no picture."""


@VISBACKENDS.register_module()
class WandbBackend(_RunBackend):
    """Weights & Biases; ``WANDB_MODE=offline``, ``WANDB_PROJECT`` and its other variables work.

    Every number stands over the training's iteration, so resumed runs join without a seam.
    """

    def _init_env(self) -> None:
        require_loggers(["wandb"])
        import wandb

        Path(self._save_dir).mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=self.run_id,
            name=self.run_name,
            group=self.group or None,
            dir=self._save_dir,
            resume="allow",
        )
        self._run.define_metric("iteration")
        self._run.define_metric("*", step_metric="iteration")
        self._image = wandb.Image

    @property
    def experiment(self) -> Any:
        """The W&B run."""
        if not self._env_initialized:
            self._env_initialized = True
            self._init_env()
        return self._run

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Logs the whole config."""
        self.experiment.config.update(config.to_dict(), allow_val_change=True)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Logs numbers of an iteration."""
        self.experiment.log({**scalar_dict, "iteration": step})

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Logs an RGB picture (H, W, 3) uint8."""
        self.experiment.log({name: self._image(image), "iteration": step})

    def close(self) -> None:
        """Finishes the run."""
        if self._env_initialized:
            self._run.finish()


@VISBACKENDS.register_module()
class MlflowBackend(_RunBackend):
    """MLflow; ``MLFLOW_TRACKING_URI`` names a server.

    Without one, runs go to ``mlflow.db`` beside the work directories
    (``mlflow ui --backend-store-uri sqlite:///work_dirs/mlflow.db``). Requests are sent from a
    thread of their own: a slow or absent server delays no step and ends no training.
    """

    def _init_env(self) -> None:
        require_loggers(["mlflow"])
        self._id: str | None = None
        self._worker = BackgroundWorker("MLflow", waiting=10_000)
        self._worker.submit(self._start)

    def _start(self) -> None:
        from mlflow import MlflowClient

        folder = Path(self._save_dir).parent.parent
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        local = uri is None
        with _alone(folder / ".mlflow.lock", needed=local):
            self._client = MlflowClient(tracking_uri=uri or f"sqlite:///{folder / 'mlflow.db'}")
            name = self.group or PROJECT
            known = self._client.get_experiment_by_name(name)
            artifacts = str(folder / "mlflow_artifacts") if local else None
            experiment = (
                known.experiment_id
                if known
                else self._client.create_experiment(name, artifact_location=artifacts)
            )
        # MLflow makes its own ids; ours is a tag by which a resumed training finds its run.
        query = f"tags.mmseg_uda_run = '{self.run_id}'"
        found = self._client.search_runs([experiment], query) if self.run_id else []
        if found:
            identifier = found[0].info.run_id
            self._client.update_run(identifier, status="RUNNING")
        else:
            tags = {"mmseg_uda_run": self.run_id or ""}
            run = self._client.create_run(experiment, run_name=self.run_name, tags=tags)
            identifier = run.info.run_id
        self._id = identifier

    @property
    def experiment(self) -> BackgroundWorker:
        """The thread that talks to the server."""
        if not self._env_initialized:
            self._env_initialized = True
            self._init_env()
        return self._worker

    def _send(self, request: Callable[[Any, str], None]) -> None:
        """Has ``request(client, run id)`` made; not if the run could not be started."""

        def send() -> None:
            if self._id is not None:
                request(self._client, self._id)

        self.experiment.submit(send)

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Logs the config as a file, and what describes the training as parameters."""
        text = config.pretty_text
        shown = {key: config[key] for key in SHOWN_KEYS if config.get(key)}
        # The runner's config has the trainer's options beside the segmentor's.
        shown["uda"] = {key: value for key, value in config.model.items() if key != "segmentor"}
        values = {k: str(v)[:MAX_PARAM] for k, v in _flat(shown)}

        def request(client: Any, run: str) -> None:
            from mlflow.entities import Param

            client.log_text(run, text, "config.py")
            # A parameter cannot change: a resumed run keeps those that it has.
            have = client.get_run(run).data.params
            params = [Param(k, v) for k, v in values.items() if k not in have]
            for start in range(0, len(params), 100):
                client.log_batch(run, params=params[start : start + 100])

        self._send(request)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Logs numbers of an iteration."""
        now = int(time.time() * 1000)
        values = {name: float(value) for name, value in scalar_dict.items()}

        def request(client: Any, run: str) -> None:
            from mlflow.entities import Metric

            metrics = [
                Metric(_metric_name(name), value, now, step)
                for name, value in values.items()
                if not math.isnan(value)
            ]
            client.log_batch(run, metrics=metrics)

        self._send(request)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Logs an RGB picture (H, W, 3) uint8."""
        key = _metric_name(name)
        self._send(lambda client, run: client.log_image(run, image, key=key, step=step))

    def close(self) -> None:
        """Sends what waits and ends the run."""
        if self._env_initialized:
            self._send(lambda client, run: client.set_terminated(run))
            self._worker.close(seconds=300)


def _metric_name(name: str) -> str:
    """MLflow allows letters, digits, and a few marks."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


@contextmanager
def _alone(path: Path, needed: bool) -> Iterator[None]:
    """Holds a lock: two trainings that start together must not both make the database."""
    if not needed:
        yield
        return
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
