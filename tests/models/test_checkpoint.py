import os

import pytest
import torch
from mmengine.logging import HistoryBuffer
from pinned_weights import build_reference, reference_case
from small import segmentor

from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import (
    load_segmentor_weights,
    read_checkpoint,
    to_reference_names,
    write_reference_checkpoint,
)


def same(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def save(content, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("case", ["daformer", "hrda_daformer", "segformer", "dlv2"])
def test_released_layouts_load_completely(case, tmp_path):
    _, shapes = reference_case(case)
    student = {name: torch.randn(shape) for name, shape in shapes.items()}
    parts = {"model": student, "ema_model": {name: -x for name, x in student.items()}}
    parts["imnet_model"] = {name: torch.zeros(()) for name in student}
    state = {f"{part}.{name}": x for part, xs in parts.items() for name, x in xs.items()}
    path = save({"meta": {"CLASSES": ("road",)}, "state_dict": state, "optimizer": {}}, tmp_path)
    model = build_reference(case, pinned=False)
    for part in ("model", "ema_model"):
        load_segmentor_weights(model, path, part)
        written = to_reference_names(model, model.state_dict())
        assert written.keys() == student.keys()
        for name, value in written.items():
            if not name.endswith("num_batches_tracked"):
                assert torch.equal(value, parts[part][name]), name


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_own_and_plain_layouts(wrap, prefix, tmp_path):
    source, target = segmentor(), segmentor()
    state = {prefix + name: value for name, value in source.state_dict().items()}
    load_segmentor_weights(target, save(wrap(state), tmp_path))
    assert same(source, target)


def test_written_reference_checkpoint_is_read_back(tmp_path):
    student, teacher = (build_reference("daformer", pinned=False) for _ in range(2))
    with torch.no_grad():
        teacher.decode_head.conv_seg.bias += 1
    path = tmp_path / "reference.pth"
    write_reference_checkpoint(path, student, teacher)
    keys = torch.load(path, weights_only=True)["state_dict"]
    assert "ema_model.backbone.block1.0.attn.q.weight" in keys
    for part, expected in (("model", student), ("ema_model", teacher)):
        model = build_reference("daformer", pinned=False)
        load_segmentor_weights(model, path, part)
        assert same(model, expected)
    assert os.listdir(tmp_path) == ["reference.pth"]


def test_logs_beside_the_weights_are_harmless(tmp_path):
    source = segmentor()
    content = {
        "state_dict": source.state_dict(),
        "message_hub": {"loss": HistoryBuffer([1.0], [1])},
    }
    target = segmentor()
    load_segmentor_weights(target, save(content, tmp_path))
    assert same(source, target)


def test_auxiliary_heads_of_the_file_are_ignored(tmp_path):
    state = segmentor().state_dict() | {"auxiliary_head.conv_seg.weight": torch.ones(1)}
    load_segmentor_weights(segmentor(), save(state, tmp_path))


def test_checkpoint_of_another_network_is_told(tmp_path):
    path = save(build_reference("segformer", pinned=False).state_dict(), tmp_path)
    with pytest.raises(UserError, match="another network") as error:
        load_segmentor_weights(build_reference("daformer", pinned=False), path)
    assert str(path) in str(error.value)
    assert "decode_head.conv_seg.weight: (19, 128, 1, 1) in the file" in str(error.value)


def test_other_class_count_shows_both_shapes(tmp_path):
    state = segmentor().state_dict()
    state["decode_head.conv_seg.bias"] = torch.zeros(19)
    with pytest.raises(UserError, match=r"\(19,\) in the file, \(5,\) in the network"):
        load_segmentor_weights(segmentor(), save(state, tmp_path))


def test_nothing_is_loaded_on_error():
    model = segmentor()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: torch.zeros_like(value) for name, value in before.items()}
    state.pop("decode_head.conv_seg.bias")
    with pytest.raises(UserError, match="1 missing"):
        load_segmentor_weights(model, state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_missing_teacher_is_told(tmp_path):
    with pytest.raises(UserError, match="no teacher"):
        load_segmentor_weights(segmentor(), segmentor().state_dict(), part="ema_model")


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("/nonexistent/pwned",)


def test_a_pickle_is_never_executed(tmp_path):
    path = save({"state_dict": {"weight": Malicious()}}, tmp_path)
    with pytest.raises(UserError, match="pickle that is not weights.*mkdir"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"model = dict()\n", b"\xff\xd8\xff\xe0JFIF", b"\x89PNG"])
def test_what_is_no_pickle_is_not_called_one(tmp_path, content):
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match="picture.jpg cannot be read as weights: torch.save"):
        read_checkpoint(path)


def test_truncated_and_absent_files_are_named(tmp_path):
    path = save(segmentor().state_dict(), tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    for broken in (path, tmp_path / "absent.pth"):
        with pytest.raises(UserError, match=str(broken)):
            read_checkpoint(broken)


def test_text_is_no_checkpoint(tmp_path):
    path = tmp_path / "notes.pth"
    path.write_text("not weights at all")
    with pytest.raises(UserError, match="notes.pth"):
        read_checkpoint(path)


def test_checkpoint_without_tensors_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no weights"):
        load_segmentor_weights(segmentor(), save({"state_dict": {}}, tmp_path))
