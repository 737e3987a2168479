"""From a training on the tiny world to pictures and a published student."""

import mmseg.apis
import numpy as np
import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    """Config and checkpoint of an HRDA job of two iterations."""
    from mmengine.config import Config

    from experiments import EXPERIMENTS
    from mmseg_uda.experiments.plan import Options, plan

    folder = tmp_path_factory.mktemp("job")
    options = Options(profile="mini", work_dir=folder / "plan")
    table = options.table(next(e for e in EXPERIMENTS if e.id == 90))
    chosen = next(job for job in table.jobs() if job.row.label == "HRDA")
    cfg = Config(plan(table, [chosen], options)[0].resolved)
    cfg.merge_from_dict(
        {
            "model.backbone.init_cfg": None,
            "train_dataloader.batch_size": 2,
            "train_cfg.max_iters": 2,
            "train_cfg.val_interval": 2,
            "default_hooks.checkpoint.interval": 2,
            "uda.target_start": 0,
        }
    )
    cfg.dump(folder / "job.py")
    ran = world.forked("tools/train.py", folder / "job.py", "--work-dir", folder / "run")
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder / "job.py", folder / "run" / "iter_2.pth"


def labels(folder):
    return {path.name: np.asarray(Image.open(path)) for path in folder.rglob("*.png")}


@pytest.mark.parametrize("teacher", [[], ["--teacher"]], ids=["student", "teacher"])
def test_pictures_agree_with_the_test_tool(done, world, tmp_path, teacher):
    config, checkpoint = done
    frames = world.root / "miniworld/cityscapes/leftImg8bit/val"
    arguments = ["--hrda-outputs", "--device", "cpu", *teacher]
    ran = world.forked(
        "tools/infer.py", config, checkpoint, frames, "--out", tmp_path / "out", *arguments
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "3 images segmented, 0 failed" in ran.stdout
    ran = world.forked(
        "tools/test.py",
        config,
        checkpoint,
        "--out",
        tmp_path / "test",
        "--work-dir",
        tmp_path,
        *teacher,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    ours, theirs = labels(tmp_path / "out/ids"), labels(tmp_path / "test")
    assert ours.keys() == theirs.keys() and len(ours) == 3
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    for kind in ("color", "overlay", "lr", "hr", "attention"):
        assert labels(tmp_path / "out" / kind).keys() == ours.keys()


def test_the_published_student_loads_in_mmsegmentation(done, world, tmp_path):
    config, checkpoint = done
    ran = world.forked("tools/publish.py", checkpoint, tmp_path / "student.pth", "--write-config")
    assert ran.returncode == 0, ran.stderr[-3000:]
    (published,) = tmp_path.glob("student-*.pth")
    assert str(published) in ran.stdout
    model = mmseg.apis.init_model(str(config), str(published), device="cpu")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[f"model.{name}"])
    frame = next((world.root / "miniworld/cityscapes/leftImg8bit/val").rglob("*.png"))
    # The job's config has no test_pipeline of its own, which inference_model asks for.
    alone = mmseg.apis.init_model(str(published.with_suffix(".py")), str(published), device="cpu")
    found = mmseg.apis.inference_model(alone, str(frame)).pred_sem_seg.data[0].numpy()
    ran = world.forked(
        "tools/test.py", config, published, "--out", tmp_path / "test", "--work-dir", tmp_path
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "test" / frame.name)), found)
