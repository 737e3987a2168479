"""Drill: data that is damaged, missing or degenerate."""

import json
import shutil

import numpy as np
import pytest
from child import end_of, start
from tiny_data import write_image, write_label

from mmseg_uda.engine import build_runner
from mmseg_uda.errors import UserError

POOLING_HEAD = {
    "model.decode_head.decoder_params.fusion_cfg": dict(
        _delete_=True,
        type="aspp",
        sep=True,
        dilations=(1, 2),
        pool=True,
        act_cfg=dict(type="ReLU"),
        norm_cfg=dict(type="BN", requires_grad=True),
    )
}
EVERY_STEP = {"default_hooks.checkpoint.interval": 1, "default_hooks.logger.interval": 1}


def train(cfg):
    runner = build_runner(cfg)
    runner.train()
    return runner


def logged(runner, name):
    """The value at the first step."""
    return runner.message_hub.get_scalar(f"train/{name}").data[0][0]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("domain", ["source", "target"])
def test_a_corrupt_image_in_the_middle_is_named(world, tmp_path, capfd, workers, domain):
    image = world.source_image(3) if domain == "source" else world.target_image(3)
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    changes = {"train_dataloader.num_workers": workers, **EVERY_STEP}
    process = start(lambda: train(world.config(tmp_path / "run", **changes)))
    assert end_of(process) == 2
    output = capfd.readouterr()
    assert output.err.count(str(image)) == 1
    assert "truncated or damaged" in output.err and "Fix: Copy or download" in output.err
    for noise in ("Traceback", "DataLoader worker", "Exception ignored"):
        assert noise not in output.err + output.out
    assert (tmp_path / "run" / "iter_3.pth").is_file()  # the steps before it are not lost

    image.write_bytes(whole)
    assert train(world.config(tmp_path / "run", **EVERY_STEP)).iter == 6


def test_a_missing_target_folder_is_named(world, tmp_path, capfd):
    shutil.rmtree(world.cityscapes / "leftImg8bit" / "train")
    process = start(lambda: train(world.config(tmp_path / "run")))
    assert end_of(process) == 2
    output = capfd.readouterr()
    assert str(world.cityscapes / "leftImg8bit" / "train") in output.err
    assert "Fix: " in output.err and "Cityscapes" in output.err
    assert "Traceback" not in output.err + output.out


def test_classes_that_are_nowhere(world, tmp_path):
    """16 of 19 classes occur in no frame, one in specks; sampling, metric and report go on."""
    specks = np.zeros((64, 96), np.uint8)
    specks[:, 48:], specks[0, :5] = 8, 12
    write_label(world.source_label(2), specks)
    sampling = dict(min_pixels=10, class_temp=0.01, min_crop_ratio=0.5)
    changes = {
        "train_dataloader.dataset.rare_class_sampling": sampling,
        "train_dataloader.sampler.shuffle": True,
        "train_cfg.val_interval": 6,
        **world.validation(),
        **EVERY_STEP,
    }
    runner = train(world.config(tmp_path / "run", **changes))
    assert all(p.isfinite().all() for p in runner.model.parameters())
    text = (tmp_path / "run" / "evaluations.json").read_text()

    def not_json(name):
        raise AssertionError(f"{name} is no JSON: other programs cannot read the file")

    (evaluation,) = json.loads(text, parse_constant=not_json)
    assert evaluation["iter"] == 6 and evaluation["mIoU"] >= 0
    assert evaluation["IoU"]["road"] is not None
    assert evaluation["IoU"]["train"] in (None, 0.0)


@pytest.mark.parametrize("average", ["all pixels", "labelled pixels"])
@pytest.mark.parametrize("which", ["one frame", "all frames"])
def test_a_crop_without_a_single_label(world, tmp_path, which, average):
    nothing = np.full((64, 96), 255, np.uint8)
    for i in range(1 if which == "one frame" else 6):
        write_label(world.source_label(i), nothing)
    loss = {"model.decode_head.loss_decode.avg_non_ignore": average == "labelled pixels"}
    runner = train(world.config(tmp_path / "run", 1, **EVERY_STEP, **loss))
    assert logged(runner, "decode.loss_seg") == 0
    assert logged(runner, "src.loss_imnet_feat_dist") == 0
    assert all(p.isfinite().all() for p in runner.model.parameters())


def test_no_cell_for_the_feature_distance(world, tmp_path):
    """Vegetation and road only: no thing class in any crop."""
    runner = train(world.config(tmp_path / "run", 2, **EVERY_STEP))
    assert logged(runner, "src.loss_imnet_feat_dist") == 0
    assert logged(runner, "decode.loss_seg") > 0
    assert all(p.isfinite().all() for p in runner.model.parameters())


def test_batch_size_1_with_an_image_pooling_branch(world, tmp_path):
    """The branch has one value per channel and image: nothing to normalise over."""
    assert train(world.config(tmp_path / "two", 2, batch_size=2, **POOLING_HEAD)).iter == 2
    with pytest.raises(UserError, match="(?s)one value per channel.*batch_size=2.*GN"):
        train(world.config(tmp_path / "one", 2, batch_size=1, **POOLING_HEAD))


def test_batch_size_1_without_it(world, tmp_path):
    runner = train(world.config(tmp_path / "run", 2, batch_size=1))
    assert runner.iter == 2
    assert all(p.isfinite().all() for p in runner.model.parameters())


def test_images_of_other_sizes_in_one_batch(world, tmp_path):
    write_image(world.source_image(0), 50, 40)
    write_label(world.source_label(0), np.zeros((50, 40), np.uint8))
    assert train(world.config(tmp_path / "run", 1, batch_size=2)).iter == 1
