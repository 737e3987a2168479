import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from pinned_weights import build_reference, pinned_tensor, reference_case

from mmseg_uda.apis import init_segmentor, taxonomy_of
from mmseg_uda.apis.segmentor import checked_device, numbered_palette
from mmseg_uda.errors import UserError


def test_student_or_teacher(kind, trained):
    config, checkpoint = trained(kind)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    for part in ("model", "ema_model"):
        model = init_segmentor(config, checkpoint, "cpu", part=part)
        assert not model.training
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[f"{part}.{name}"])


def test_forms_of_a_config(trained):
    path, checkpoint = trained("daformer")
    wrapped = Config.fromfile(path)
    wrapped.model = dict(**wrapped.pop("uda"), segmentor=wrapped.model)
    for config in (path, str(path), Config.fromfile(path), wrapped, None):
        model = init_segmentor(config, checkpoint, "cpu")
        assert type(model).__name__ == "SlideEncoderDecoder"
        assert model.dataset_meta["classes"][0] == "road"
        assert taxonomy_of(model).name == "cityscapes19"
    assert "uda" not in wrapped and "segmentor" in wrapped.model  # left as it was


def test_a_released_checkpoint_and_a_config_of_the_repository(tmp_path):
    """The layout of tests/golden/daformer.keys.json, student and teacher beside ImageNet's."""
    _, shapes = reference_case("segformer")
    state = {}
    for part, sign in (("model", 1), ("ema_model", -1), ("imnet_model", 0)):
        for name, shape in shapes.items():
            state[f"{part}.{name}"] = sign * pinned_tensor(name, shape)
    content = dict(meta=dict(CLASSES=tuple("abcdefghijklmnopqrs")), state_dict=state, optimizer={})
    torch.save(content, tmp_path / "released.pth")
    from mmseg_uda.models.reference_config import from_reference_config

    cfg = Config(dict(model=from_reference_config(reference_case("segformer")[0])))
    model = init_segmentor(cfg, tmp_path / "released.pth", "cpu")
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(model(image), build_reference("segformer")(image))
    assert model.dataset_meta["classes"][3] == "d"
    assert len(model.dataset_meta["palette"]) == 19
    teacher = init_segmentor(cfg, tmp_path / "released.pth", "cpu", part="ema_model")
    assert torch.equal(teacher.decode_head.conv_seg.bias, -model.decode_head.conv_seg.bias)


@pytest.mark.parametrize("config", ["daformer/gta2cs_daformer", "mic/gtaHR2csHR_mic_hrda"])
def test_the_configs_of_the_repository_build(config):
    """Neither data nor pretrained encoders nor the trainer are needed."""
    with torch.device("meta"):
        from mmseg_uda.apis.segmentor import build_segmentor
        from mmseg_uda.engine.config_file import load_config

        model = build_segmentor(load_config(f"configs/{config}.py"))
    assert model.num_classes == 19


def test_plain_mmsegmentation(tmp_path):
    """A stock segmentor that knows nothing of this package."""
    cfg = Config(
        dict(
            model=dict(
                type="EncoderDecoder",
                data_preprocessor=dict(type="SegDataPreProcessor"),
                backbone=dict(
                    type="ResNet",
                    depth=18,
                    base_channels=8,
                    num_stages=2,
                    strides=(1, 2),
                    dilations=(1, 1),
                    out_indices=(0, 1),
                    init_cfg=dict(type="Pretrained", checkpoint="nowhere.pth"),
                ),
                decode_head=dict(
                    type="FCNHead", in_channels=16, in_index=1, channels=8, num_classes=3
                ),
                test_cfg=dict(mode="whole"),
            ),
        )
    )
    model = cfg.model.copy()
    model.backbone = {k: v for k, v in model.backbone.items() if k != "init_cfg"}
    torch.save(dict(state_dict=MODELS.build(model).state_dict(), meta={}), tmp_path / "m.pth")
    found = init_segmentor(cfg, tmp_path / "m.pth", "cpu")
    assert found.dataset_meta["classes"] == ("class 0", "class 1", "class 2")
    assert taxonomy_of(found) is None


def test_another_number_of_classes_than_the_taxonomy(trained, tmp_path):
    cfg = Config.fromfile(trained("daformer")[0])
    cfg.model.decode_head.num_classes = 6
    with pytest.raises(UserError, match=r"predicts 6 classes.*'cityscapes19' has 19"):
        init_segmentor(cfg, None, "cpu")
    # a taxonomy that fits is taken wherever the config names it
    names = "abcdef"
    entries = [
        f"  - {{name: {n}, color: [1, 2, {i}], group: g, prompts: [p]}}"
        for i, n in enumerate(names)
    ]
    own = tmp_path / "six.yaml"
    own.write_text("name: six\nclasses:\n" + "\n".join(entries) + "\n")
    cfg.val_evaluator = dict(type="StreamingIoU", taxonomy=str(own))
    model = init_segmentor(cfg, None, "cpu")
    assert model.dataset_meta["classes"] == tuple(names)
    assert taxonomy_of(model).name == "six"


def test_wrong_input_is_told(trained, tmp_path):
    config, checkpoint = trained("daformer")
    with pytest.raises(UserError, match="There is no config nowhere.py"):
        init_segmentor("nowhere.py", checkpoint, "cpu")
    with pytest.raises(UserError, match="no such weights"):
        init_segmentor(config, tmp_path / "nowhere.pth", "cpu")
    with pytest.raises(
        UserError, match=f"(?s){trained('hrda')[1].name} is a checkpoint of another"
    ):
        init_segmentor(config, trained("hrda")[1], "cpu")
    with pytest.raises(UserError, match="no model"):
        init_segmentor(Config(dict(uda=dict())), checkpoint, "cpu")
    with pytest.raises(UserError, match="There is no device 'gpu7'"):
        init_segmentor(config, checkpoint, "gpu7")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(UserError, match="no CUDA device"):
        checked_device("cuda")
    assert checked_device().type == "cpu"


def test_colours_without_a_palette_are_distinct():
    palette = numbered_palette(200)
    assert len({tuple(color) for color in palette}) == 200
    assert palette[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]  # PASCAL VOC's
