import ast
import hashlib
import runpy
import sys

import mmseg.apis
import numpy as np
import pytest
import torch
from fixed_run import config as fixed_run
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from pinned_weights import build_reference, pinned_tensor, reference_case

from mmseg_uda.apis import init_segmentor, predict, publish
from mmseg_uda.engine import build_runner
from mmseg_uda.engine.testing import test_checkpoint as evaluate
from mmseg_uda.errors import UserError
from mmseg_uda.models.reference_config import from_reference_config

SEEN = {}


@METRICS.register_module(force=True)
class KeepLogits(BaseMetric):
    """Keeps what tools/test.py's loop predicts."""

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            SEEN[sample["img_path"]] = sample["seg_logits"]["data"].clone()

    def compute_metrics(self, results):
        return {}

    def evaluate(self, size):
        return {}


def logits_of_the_test_tool(cfg, checkpoint, part, work_dir):
    """Logits by image path, as tools/test.py computes them."""
    SEEN.clear()
    cfg = cfg.copy()
    cfg.test_evaluator = dict(type="KeepLogits")
    cfg.work_dir = str(work_dir)
    evaluate(cfg, checkpoint, part=part)
    return dict(SEEN)


@pytest.mark.parametrize("part", ["model", "ema_model"])
def test_published_logits_are_those_of_the_test_tool(kind, part, trained, tmp_path):
    config, checkpoint = trained(kind)
    published = publish(checkpoint, tmp_path / "student.pth", part=part)
    model = mmseg.apis.init_model(str(config), str(published), device="cpu")
    expected = logits_of_the_test_tool(Config.fromfile(config), checkpoint, part, tmp_path)
    assert len(expected) == 3
    for path, logits in expected.items():
        result = mmseg.apis.inference_model(model, path)
        assert torch.equal(result.seg_logits.data, logits)
        assert logits.std() > 0.1
    assert model.dataset_meta["classes"][13] == "car"


def test_student_and_teacher_differ(trained, tmp_path):
    _, checkpoint = trained("daformer")
    student, teacher = (publish(checkpoint, tmp_path / p, part=p) for p in ("model", "ema_model"))
    assert student.name.split("-")[1] != teacher.name.split("-")[1]


def test_the_config_beside_the_file_stands_alone(kind, trained, images, tmp_path):
    """No data, no uda, no training: the network and how images are prepared."""
    config, checkpoint = trained(kind)
    published = publish(checkpoint, tmp_path / "s.pth", write_config=True)
    text = published.with_suffix(".py").read_text()
    assert str(images) not in text and "uda=" not in text.replace(" ", "").replace("mmseg_uda", "")
    path = next(images.rglob("*_leftImg8bit.png"))
    alone = mmseg.apis.init_model(str(published.with_suffix(".py")), str(published), device="cpu")
    result = mmseg.apis.inference_model(alone, str(path))
    expected = predict(init_segmentor(config, checkpoint, "cpu"), path, logits=True)
    assert np.array_equal(result.seg_logits.data.numpy(), expected.logits)
    # ... and so does the file alone, by the text that it carries
    carried = predict(init_segmentor(None, published, "cpu"), path, logits=True)
    assert np.array_equal(carried.logits, expected.logits)


def test_name_and_content(trained, tmp_path):
    _, checkpoint = trained("daformer")
    published = publish(checkpoint, tmp_path / "new" / "student.pth")
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert published == tmp_path / "new" / f"student-{digest[:8]}.pth"
    assert [p.name for p in published.parent.iterdir()] == [published.name]
    # plain data: loads without running code
    content = torch.load(published, weights_only=True)
    assert content.keys() == {"meta", "state_dict"}
    assert not any(name.startswith(("model.", "ema_model.")) for name in content["state_dict"])
    assert content["meta"]["part"] == "student" and content["meta"]["iter"] == 7
    assert content["meta"]["dataset_meta"]["palette"][0] == [128, 64, 128]
    assert published.stat().st_size < 0.6 * checkpoint.stat().st_size


def test_equal_weights_give_equal_files_and_a_folder_takes_the_name(trained, tmp_path):
    _, checkpoint = trained("daformer")
    first = publish(checkpoint, tmp_path / "a.pth")
    second = publish(checkpoint, tmp_path)
    assert second.name.startswith(f"{checkpoint.stem}-")
    assert first.read_bytes() == second.read_bytes()
    # one that is not there yet is told by its slash
    third = publish(checkpoint, f"{tmp_path}/later/")
    assert third == tmp_path / "later" / second.name


def test_half_precision(trained, tmp_path):
    config, checkpoint = trained("daformer")
    full, half = (publish(checkpoint, tmp_path / str(h), half=h) for h in (False, True))
    stored = torch.load(half, weights_only=True)["state_dict"]
    assert stored["decode_head.conv_seg.weight"].dtype == torch.float16
    assert stored["decode_head.fuse_layer.bn.num_batches_tracked"].dtype == torch.int64
    assert half.stat().st_size < 0.7 * full.stat().st_size
    exact, rounded = (mmseg.apis.init_model(str(config), str(p), "cpu") for p in (full, half))
    for name, value in exact.state_dict().items():
        assert rounded.state_dict()[name].dtype == value.dtype
        assert torch.allclose(rounded.state_dict()[name], value, rtol=1e-3, atol=1e-6)


def test_values_beyond_half_precision_are_refused(trained, tmp_path):
    _, checkpoint = trained("daformer")
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["model.decode_head.conv_seg.bias"][3] = 1e6
    torch.save(content, tmp_path / "large.pth")
    with pytest.raises(UserError, match="conv_seg.bias holds values that float16"):
        publish(tmp_path / "large.pth", tmp_path / "out.pth", half=True)
    assert not list(tmp_path.glob("out*"))


def test_a_checkpoint_as_the_runner_writes_it(tmp_path):
    cfg = fixed_run(tmp_path, steps=2)
    cfg.test_pipeline = [dict(type="LoadFrame"), dict(type="PackFields")]
    build_runner(cfg).train()
    published = publish(tmp_path / "iter_2.pth", tmp_path / "student.pth")
    meta = torch.load(published, weights_only=True)["meta"]
    assert tuple(meta["dataset_meta"]["classes"]) == ("a", "b", "c", "d", "e")
    assert meta["iter"] == 2 and str(tmp_path) not in meta["cfg"]
    prediction = predict(init_segmentor(None, published, "cpu"), np.zeros((40, 50, 3), np.uint8))
    assert prediction.label.shape == (40, 50) and prediction.label.max() < 5


def test_a_reference_checkpoint_needs_its_config(tmp_path):
    """Written in the published names; loads in mmsegmentation's."""
    net, shapes = reference_case("segformer")
    state = {name: pinned_tensor(name, shape) for name, shape in shapes.items()}
    state = {f"model.{name}": value for name, value in state.items()}
    checkpoint = tmp_path / "reference.pth"
    torch.save(dict(meta={}, state_dict=state), checkpoint)
    with pytest.raises(UserError, match="reference.pth does not say which network"):
        publish(checkpoint, tmp_path / "out.pth")
    pipeline = [dict(type="LoadFrame"), dict(type="PackFields")]
    config = Config(dict(model=from_reference_config(net), test_pipeline=pipeline))
    published = publish(checkpoint, tmp_path / "out.pth", config=config)
    model = mmseg.apis.init_model(config, str(published), device="cpu")
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(model(image), build_reference("segformer")(image))


class TestConfigText:
    """The text in a checkpoint is data."""

    def publish(self, trained, tmp_path, text):
        _, checkpoint = trained("daformer")
        content = torch.load(checkpoint, weights_only=True)
        content["meta"]["cfg"] = text
        torch.save(content, tmp_path / "changed.pth")
        return publish(tmp_path / "changed.pth", tmp_path / "out.pth")

    @pytest.mark.parametrize(
        "text",
        [
            "import os\nos.mkdir('{folder}')",
            "model = dict(type=__import__('os').mkdir('{folder}'))",
            "model = [x for x in open('{folder}', 'w')]",
            "model = dict(**{{'type': 1}})",
            "model = dict(",
        ],
    )
    def test_it_is_never_executed(self, trained, tmp_path, text):
        victim = tmp_path / "victim"
        with pytest.raises(UserError, match="config text in .*changed.pth cannot be read"):
            self.publish(trained, tmp_path, text.format(folder=victim))
        assert not victim.exists()

    def test_unknown_classes_ask_for_the_config(self, trained, tmp_path, config_of):
        text = config_of("daformer").pretty_text.replace("NanoBackbone", "MyBackbone")
        with pytest.raises(UserError, match="(?s)MyBackbone.*custom_imports"):
            self.publish(trained, tmp_path, text)

    def test_it_is_the_config(self, trained, config_of, laid_out):
        from mmseg_uda.engine.deployed import stored_config

        cfg = config_of("hrda")
        cfg.odd = {"a.b": 1, "tuple": (1, -2.5, None), "nested": [dict(x=[(1, 2)]), "text"]}
        ast.parse(cfg.pretty_text)
        stored = stored_config({"meta": {"cfg": cfg.pretty_text}})
        assert stored.to_dict() == cfg.to_dict()


class TestTool:
    """tools/publish.py, run in this process."""

    @pytest.fixture
    def tool(self, monkeypatch, capsys):
        def call(*arguments):
            monkeypatch.setattr(sys, "argv", ["publish.py", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                runpy.run_path("tools/publish.py", run_name="__main__")
            return ended.value.code, *capsys.readouterr()

        return call

    def test_options(self, tool, trained, tmp_path):
        _, checkpoint = trained("daformer")
        status, out, _ = tool(checkpoint, tmp_path / "a.pth", "--teacher", "--half")
        expected = publish(checkpoint, tmp_path / "b.pth", part="ema_model", half=True)
        (written,) = tmp_path.glob("a-*.pth")
        assert status == 0 and str(written) in out
        assert written.read_bytes() == expected.read_bytes()
        assert tool(checkpoint, tmp_path / "c.pth", "--write-config")[0] == 0
        assert len(list(tmp_path.glob("c-*"))) == 2

    def test_wrong_input_is_told(self, tool, trained, tmp_path):
        config, checkpoint = trained("daformer")
        (tmp_path / "file").touch()
        for arguments, words in (
            ([tmp_path / "no.pth", tmp_path / "out.pth"], "no such weights"),
            ([checkpoint, tmp_path / "file" / "out.pth"], "cannot be written"),
            ([checkpoint, tmp_path / "out.pth", "--config", "no.py"], "no config no.py"),
        ):
            status, _, err = tool(*arguments)
            assert status == 2 and words in err.replace("\n", " ") and "Traceback" not in err
