"""A world of a few frames and random miniature weights, shared by all end-to-end tests."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from child import run_script
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
COUNTS = {
    "gta": {"train": 6},
    "synthia": {"train": 8},
    "cityscapes": {"train": 8, "val": 3},
    "acdc": {"train": 4, "val": 2},
}


@dataclass
class World:
    """Folders of the tiny world."""

    root: Path
    clip: Path

    def environment(self):
        return {
            **os.environ,
            "MMSEG_UDA_DATA_ROOT": str(self.root),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def python(self, *arguments, **kwargs):
        """Run one of the project's scripts."""
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
            **kwargs,
        )

    def forked(self, script, *arguments):
        """The same, without a new interpreter: the imports take longer than the work."""
        environment = self.environment()
        return run_script(ROOT / script, *arguments, cwd=ROOT, environment=environment)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    import open_clip
    import torch

    from mmseg_uda.miniworld import WorldOptions, ensure_miniworld
    from mmseg_uda.miniworld.weights import CLIP_CONFIG, save_clip

    root = tmp_path_factory.mktemp("data")
    ensure_miniworld(
        root / "miniworld", weights=None, options=WorldOptions(counts=COUNTS), workers=1
    )
    torch.manual_seed(0)
    clip = root / "clip"
    save_clip(open_clip.CLIP(**CLIP_CONFIG), clip)
    return World(root, clip)


@pytest.fixture
def job(world, tmp_path):
    """Writes the mini config of a row of an experiment, cut down to a few iterations."""
    from experiments import EXPERIMENTS
    from mmseg_uda.experiments.plan import Options, plan

    def write(label, experiment=90, **changes):
        options = Options(profile="mini", work_dir=tmp_path / "plan")
        table = options.table(next(e for e in EXPERIMENTS if e.id == experiment))
        chosen = next(j for j in table.jobs() if j.row.label == label)
        cfg = Config(plan(table, [chosen], options)[0].resolved)
        cfg.merge_from_dict(
            {
                "model.backbone.init_cfg": None,
                "train_dataloader.batch_size": 2,
                "train_cfg.max_iters": 10,
                "train_cfg.val_interval": 10,
                "default_hooks.checkpoint.interval": 5,
                "default_hooks.logger.interval": 1,
                "default_hooks.job_files.interval": 1,
                **changes,
            }
        )
        path = tmp_path / "job.py"
        cfg.dump(path)
        return path

    return write
