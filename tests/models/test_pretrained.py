import huggingface_hub
import pytest
import torch
import torchvision
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from small import nano, segmentor
from transformers import SegformerConfig, SegformerModel

from mmseg_uda.errors import UserError
from mmseg_uda.hub import PRETRAINED_ROOT_VARIABLE
from mmseg_uda.models.backbones import MiT, StagedBackbone
from mmseg_uda.models.weights import (
    find_weights,
    load_backbone_weights,
    pretrained,
    to_reference_names,
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv(PRETRAINED_ROOT_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def original():
    return MiT("b0").eval()


def same(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_original_segformer_file(root, original):
    state = to_reference_names(original, original.state_dict())
    state |= {"head.weight": torch.ones(1000, 256), "head.bias": torch.ones(1000)}
    torch.save(state, root / "mit_b0.pth")
    model = MiT("b0", init_cfg=dict(type="BackboneWeights", checkpoint="mit_b0"))
    model.init_weights()
    assert same(model, original)


def test_mmseg_file(root, original):
    torch.save({"state_dict": original.state_dict()}, root / "mit_b0.pth")
    model = MiT("b0")
    load_backbone_weights(model, "mit_b0")
    assert same(model, original)


def hub_model():
    config = SegformerConfig(
        hidden_sizes=[32, 64, 160, 256],
        depths=[2, 2, 2, 2],
        num_attention_heads=[1, 2, 5, 8],
        layer_norm_eps=1e-6,
    )
    return SegformerModel(config).eval()


def old_hub_names(state):
    """Names of the files on the hub, written by early versions of the library."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("stages."):
            _, stage, part, *rest = name.split(".")
            rest = ".".join(rest)
            if part == "blocks":
                block, _, inner = rest.partition(".")
                for new, old in (
                    ("layernorm_before", "layer_norm_1"),
                    ("layernorm_after", "layer_norm_2"),
                    ("attention.q_proj", "attention.self.query"),
                    ("attention.k_proj", "attention.self.key"),
                    ("attention.v_proj", "attention.self.value"),
                    ("attention.o_proj", "attention.output.dense"),
                    ("attention.sequence_reduction.sequence_reduction", "attention.self.sr"),
                    ("attention.sequence_reduction.layer_norm", "attention.self.layer_norm"),
                    ("mlp.fc1", "mlp.dense1"),
                    ("mlp.fc2", "mlp.dense2"),
                ):
                    inner = inner.replace(new, old)
                name = f"encoder.block.{stage}.{block}.{inner}"
            else:
                name = f"encoder.{part}.{stage}.{rest}"
        renamed[f"segformer.{name}"] = value
    return renamed


@torch.no_grad()
@pytest.mark.parametrize("names", [dict, old_hub_names])
def test_hub_layouts_give_the_same_network(root, names):
    hub = hub_model()
    state = {**names(hub.state_dict()), "classifier.weight": torch.ones(1000, 256)}
    torch.save(state, root / "mit_b0.pth")
    model = MiT("b0").eval()
    load_backbone_weights(model, "mit_b0")
    image = torch.randn(1, 3, 64, 64)
    expected = hub(image, output_hidden_states=True).last_hidden_state
    assert torch.allclose(model(image)[-1], expected, atol=1e-4)


def test_missing_weights_are_fetched_from_the_hub(root, original, monkeypatch):
    state = to_reference_names(original, original.state_dict())
    asked = []

    def download(repository, file, **_):
        asked.append((repository, file))
        if file == "model.safetensors":
            raise huggingface_hub.errors.EntryNotFoundError("absent")
        torch.save(state, root / "downloaded.bin")
        return str(root / "downloaded.bin")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.chdir(root)
    model = MiT("b0")
    load_backbone_weights(model, "mit_b0")
    assert same(model, original)
    assert asked == [
        ("nvidia/mit-b0", "model.safetensors"),
        ("nvidia/mit-b0", "pytorch_model.bin"),
    ]


def test_offline_error_names_file_and_home(root, monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    for name, home in (
        ("mit_b4", "huggingface.co/nvidia/mit-b4"),
        ("resnet101_v1c", "resnet101_v1c-e67eebb6.pth"),
    ):
        with pytest.raises(UserError) as error:
            load_backbone_weights(MiT("b0"), name)
        assert str(root / f"{name}.pth") in str(error.value)
        assert home in str(error.value)


def test_unknown_name_is_told(root):
    with pytest.raises(UserError, match="my_weights"):
        load_backbone_weights(MiT("b0"), "my_weights")


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_partial_coverage_is_an_error(root, original, change):
    state = to_reference_names(original, original.state_dict())
    if change == "missing":
        del state["norm4.bias"]
    elif change == "unexpected":
        state["block4.2.norm1.weight"] = torch.ones(256)
    else:
        state["norm4.bias"] = torch.ones(7)
    torch.save(state, root / "mit_b0.pth")
    with pytest.raises(UserError, match=f"1 {change}"):
        load_backbone_weights(MiT("b0"), "mit_b0")


def test_partial_coverage_on_request(root, original):
    state = to_reference_names(original, original.state_dict())
    del state["norm4.bias"]
    torch.save(state, root / "mit_b0.pth")
    load_backbone_weights(MiT("b0"), "mit_b0", allow_partial=True)


@pytest.mark.parametrize(
    "cfg", [nano(), dict(type="ResNetV1c", depth=18, norm_cfg=dict(type="BN"))], ids=["nano", "r"]
)
def test_convolutional_encoders_keep_what_they_loaded(root, cfg):
    """mmengine initialises children after their parent, which must not undo the loading."""
    source = MODELS.build(ConfigDict(cfg))
    torch.save({**source.state_dict(), "fc.weight": torch.ones(2, 2)}, root / "encoder.pth")
    init_cfg = dict(type="BackboneWeights", checkpoint="encoder")
    model = segmentor(dict(type="DLV2Head", in_channels=8, num_classes=5))
    model.backbone = MODELS.build(ConfigDict(cfg, init_cfg=init_cfg))
    model.init_weights()
    assert same(model.backbone, source)


ARCHITECTURES = ("resnet50", "resnet101", "mobilenet_v2", "shufflenet_v2_x1_0")
PUBLISHED = {  # names under which torchvision publishes its first weights
    "resnet50": ("resnet50-0676ba61", "resnet50-19c8e357"),
    "resnet101": ("resnet101-63fe2227", "resnet101-5d3b4d8f"),
    "mobilenet_v2": ("mobilenet_v2-b0353104",),
    "shufflenet_v2_x1_0": ("shufflenetv2_x1-5666bf0f80",),
}


@pytest.mark.parametrize("arch", ["mobilenet_v2", "shufflenet_v2_x1_0"])
def test_torchvision_file_initialises_a_staged_encoder(root, arch):
    network = getattr(torchvision.models, arch)(weights=None)
    torch.save(network.state_dict(), root / f"{arch}_imagenet1k_v1.pth")
    cfg = dict(type="BackboneWeights", checkpoint=f"{arch}_imagenet1k_v1")
    backbone = StagedBackbone(arch, init_cfg=cfg)
    backbone.init_weights()
    expected = [v for k, v in network.state_dict().items() if not k.startswith(("fc.", "class"))]
    for ours, theirs in zip(backbone.state_dict().values(), expected, strict=True):
        assert torch.equal(ours, theirs)
    assert not any(p.requires_grad for p in backbone.stem.parameters())


def test_own_layout_initialises_a_staged_encoder(root):
    source = StagedBackbone("resnet50", width=0.125, depth=0.25)
    torch.save(source.state_dict(), root / "narrow.pth")
    cfg = dict(type="BackboneWeights", checkpoint=str(root / "narrow.pth"))
    backbone = StagedBackbone("resnet50", width=0.125, depth=0.25, init_cfg=cfg)
    backbone.init_weights()
    assert same(backbone, source)
    with pytest.raises(UserError, match="shape"):
        load_backbone_weights(StagedBackbone("resnet50", width=0.25, depth=0.25), "narrow")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_torchvision_files_keep_their_names(root, arch, monkeypatch):
    monkeypatch.setattr(pretrained, "pretrained_roots", lambda: [root])
    for file in PUBLISHED[arch]:
        path = root / f"{file}.pth"
        path.touch()
        assert find_weights(f"{arch}_imagenet1k_v1") == path
        path.unlink()
    assert find_weights(f"{arch}_imagenet1k_v1") is None


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_first_weights_of_torchvision_are_asked_for(root, arch, monkeypatch):
    def offline(url, *args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(pretrained, "pretrained_roots", lambda: [root])
    name = f"{arch}_imagenet1k_v1"
    with torch.device("meta"):
        backbone = StagedBackbone(arch)
    with pytest.raises(UserError) as error:
        load_backbone_weights(backbone, name)
    first = torchvision.models.get_model_weights(arch).IMAGENET1K_V1
    assert first.url in str(error.value)
    assert str(root / f"{name}.pth") in str(error.value)
