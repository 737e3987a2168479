"""Drill: weights that hold NaN or infinity, in every place where weights are read."""

import math
import runpy
import sys

import pytest
import torch
from fixed_run import config
from trained_nano import save_trained, trained_config, write_frames

from mmseg_uda.apis import init_segmentor, publish
from mmseg_uda.engine import build_runner
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import read_checkpoint
from mmseg_uda.models.weights.finite import tensors_in

WEIGHT = "decode_head.conv_seg.weight"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Config file and checkpoint; the student has two bad numbers in two tensors."""
    root = tmp_path_factory.mktemp("trained")
    cfg = trained_config("daformer", write_frames(root / "cityscapes"))
    cfg.dump(root / "config.py")
    save_trained(cfg, root / "bad.pth")
    content = torch.load(root / "bad.pth", weights_only=True)
    content["state_dict"][f"model.{WEIGHT}"].view(-1)[3] = math.nan
    content["state_dict"]["model.decode_head.fuse_layer.bn.running_var"][0] = math.inf
    torch.save(content, root / "bad.pth")
    return root


def is_told(message):
    return all(word in message for word in ("bad.pth", "NaN or infinite", "in 2 of", WEIGHT))


def test_evaluation_is_refused(trained, tmp_path, monkeypatch, capsys):
    paths = [trained / "config.py", trained / "bad.pth", "--work-dir", tmp_path]

    def evaluate(*options):
        monkeypatch.setattr(sys, "argv", ["test.py", *map(str, paths), *options])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path("tools/test.py", run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    status, out, err = evaluate()
    assert status == 2 and "mIoU:" not in out
    assert err.startswith("Error: ") and is_told(err) and "Traceback" not in err
    status, out, _ = evaluate("--teacher")  # which is whole
    assert status == 0 and "mIoU:" in out


def test_inference_and_publishing_are_refused(trained, tmp_path):
    for use in (
        lambda: init_segmentor(trained / "config.py", trained / "bad.pth", "cpu"),
        lambda: publish(trained / "bad.pth", tmp_path / "out.pth"),
    ):
        with pytest.raises(UserError) as caught:
            use()
        assert is_told(str(caught.value))
    assert list(tmp_path.iterdir()) == []
    assert init_segmentor(trained / "config.py", trained / "bad.pth", "cpu", "ema_model")


@pytest.mark.parametrize("way", ["load_from", "resume", "BackboneWeights", "Pretrained"])
def test_a_training_does_not_start_from_them(tmp_path, way):
    path = tmp_path / "bad.pth"
    trainer = build_runner(config(tmp_path / "first", 1)).model
    part = {"load_from": trainer.model, "resume": trainer}.get(way, trainer.model.backbone)
    state = part.state_dict()
    name = next(n for n in reversed(state) if n.endswith("running_mean") and "ema" not in n)
    state[name][1] = -math.inf
    meta = dict(format_version=1, iter=1) if way == "resume" else {}
    torch.save(dict(meta=meta, state_dict=state), path)
    changes = {
        "load_from": dict(load_from=str(path), resume=False),
        "resume": dict(load_from=str(path), resume=True),
    }.get(way, {"model.backbone.init_cfg": dict(type=way, checkpoint=str(path))})
    with pytest.raises(UserError, match=rf"bad\.pth holds values that are NaN.*{name}.*1 of"):
        build_runner(config(tmp_path / "run", 1, **changes)).train()


def test_containers_within_themselves_and_many_times(tmp_path):
    part = {"weight": torch.tensor([1.0, math.nan])}
    for _ in range(30):  # two ways at each level: a billion to the tensor
        part = {"a": part, "b": part}
    part["itself"] = [part]
    torch.save(part, tmp_path / "bomb.pth")
    (name,) = tensors_in(read_checkpoint(tmp_path / "bomb.pth"))
    assert name == ".".join(["a"] * 30 + ["weight"])
