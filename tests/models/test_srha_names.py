"""Checkpoints as SRHA and RobustNet release them, built of torchvision's modules."""

import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from released_networks import CONFIGS, MASK2FORMER, DeepLab, Mask2Former, released
from torch import nn

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.checkpoint import load_trainer_state
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import load_segmentor_weights, read_checkpoint
from mmseg_uda.models.weights.files import coverage_problems
from mmseg_uda.models.weights.srha_names import from_srha_names


def ours(path):
    """The segmentor of a config, on the meta device."""
    with torch.device("meta"):
        return MODELS.build(Config.fromfile(path).model)


def zeros(state):
    """Values that need no memory to speak of, in place of meta tensors."""
    return {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in state.items()}


def complete(segmentor, state):
    problems = coverage_problems(segmentor.state_dict(), from_srha_names(segmentor, state))
    assert not any(problems.values()), problems


@pytest.mark.parametrize("arch", CONFIGS)
def test_deeplab_is_covered(arch):
    with torch.device("meta"):
        state = DeepLab(arch).state_dict()
    complete(ours(CONFIGS[arch]), state)


@pytest.mark.parametrize(
    ("arch", "pattern", "name"),
    [
        ("resnet50", r"^layer0\.0\.", "layer0.conv1."),
        ("resnet101", r"^layer0\.1\.", "layer0.bn1."),
        ("shufflenet_v2_x1_0", r"^(layer[04])\.", r"\1.layer."),  # RobustNet's
        ("shufflenet_v2_x1_0", r"^layer4\.", "layer4.0."),
        ("mobilenet_v2", r"^layer4\.0\.", "layer4."),
        ("resnet50", r"^dsn\.4\.", "dsn.3."),  # without dropout
        ("resnet50", r"^final2\.0\.", "final2."),
    ],
)
def test_variants_of_the_layout_are_covered(arch, pattern, name):
    with torch.device("meta"):
        state = DeepLab(arch).state_dict()
    changed = {re.sub(pattern, name, key): value for key, value in state.items()}
    assert changed.keys() != state.keys()
    complete(ours(CONFIGS[arch]), changed)


def test_counters_may_be_missing_and_blocks_counted_in_the_whole_network():
    with torch.device("meta"):
        state = DeepLab("mobilenet_v2").state_dict()
    first = {"1": 2, "2": 7, "3": 11, "4": 18}
    state = {
        re.sub(
            r"^layer([1-4])\.(\d+)", lambda m: f"layer{m[1]}.{first[m[1]] + int(m[2])}", key
        ): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert "layer3.11.conv.0.0.weight" in state
    complete(ours(CONFIGS["mobilenet_v2"]), state)


@pytest.mark.parametrize("levels", [1, 3])
def test_mask2former_is_covered(levels):
    with torch.device("meta"):
        state = Mask2Former(levels).state_dict()
    state = zeros(state)
    segmentor = ours(MASK2FORMER)
    assert segmentor.decode_head.top_down_levels == 1
    load_segmentor_weights(segmentor, state)
    assert segmentor.decode_head.top_down_levels == levels
    complete(segmentor, state)


def randomised(network):
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            fan_in = max(1, value[:1].numel())
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(noise / fan_in**0.5 if value.dim() > 1 else 1 + 0.1 * noise)
            if name.endswith(("bias", "running_mean")):
                value.sub_(1)
    return network


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["module.", ""])
def test_a_released_network_predicts_as_released(tmp_path, prefix):
    from mmseg_uda.apis import init_segmentor

    network = randomised(DeepLab("shufflenet_v2_x1_0", wrapped=True)).eval()
    content = released(network, mean_iu=np.float64(0.4))
    state = {prefix + k.removeprefix("module."): v for k, v in content["state_dict"].items()}
    torch.save({**content, "state_dict": state}, tmp_path / "last_gtav_epoch_38.pth")
    config = CONFIGS["shufflenet_v2_x1_0"]
    segmentor = init_segmentor(config, tmp_path / "last_gtav_epoch_38.pth", "cpu")
    image = torch.randn(2, 3, 96, 128)
    expected, found = network(image), segmentor.encode_decode(image, [])
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, atol=1e-4), (found - expected).abs().max()


@torch.no_grad()
def test_parts_of_mask2former_go_where_they_belong():
    tiny = dict(width=32, queries=5, encoder=1, decoder=2, ffn=(64, 64))
    network = randomised(Mask2Former(**tiny)).eval()
    cfg = Config.fromfile(MASK2FORMER).model
    cfg.backbone.pop("init_cfg")
    cfg.decode_head.update(
        channels=32, mask_channels=32, num_queries=5, encoder_layers=1, decoder_layers=2,
        encoder_ffn=64, decoder_ffn=64, top_down_levels=3,
    )  # fmt: skip
    segmentor = MODELS.build(cfg).eval()
    load_segmentor_weights(segmentor, released(network))
    predictor, pixels = network.m2f_decoder.predictor, network.m2f_decoder.pixel_decoder
    transformer = segmentor.decode_head.transformer
    assert torch.equal(transformer.queries_features.weight, predictor.query_feat.weight)
    assert torch.equal(transformer.queries_embedder.weight, predictor.query_embed.weight)
    ours = segmentor.decode_head.pixel_decoder
    assert torch.equal(ours.lateral_convolutions[0][0].weight, pixels.adapter_3.weight)
    assert torch.equal(ours.output_convolutions[2][1].bias, pixels.layer_1.norm.bias)
    queries, places = torch.randn(2, 5, 2, 32)
    attention = predictor.transformer_self_attention_layers[1].self_attn
    expected = attention(queries + places, queries + places, queries)[0]
    found = transformer.decoder.layers[1].self_attn(queries, position_embeddings=places)[0]
    assert torch.allclose(found, expected, atol=1e-5)
    assert segmentor.encode_decode(torch.randn(1, 3, 64, 64), []).isfinite().all()


def test_training_does_not_exchange_parameters_that_an_optimizer_has():
    with torch.device("meta"):
        state = Mask2Former(3).state_dict()
    segmentor = ours(MASK2FORMER)
    before = segmentor.decode_head.pixel_decoder
    with pytest.raises(UserError, match="3 top-down levels.*the network 1") as caught:
        load_trainer_state(segmentor, {"state_dict": state}, "m2f.pth")
    assert caught.value.fix == "Set model.decode_head.top_down_levels=3"
    assert segmentor.decode_head.pixel_decoder is before


@pytest.mark.parametrize(
    ("command", "message", "fix"),
    [
        ("--arch network.deepv3.DeepR50V3PlusD --wt_layer 0 0 2 2 2 0 0", "whitens", "RobustNet"),
        ("--wt_layer 0 0 4 4 4 0 0 --style_elimination", "whitens", "RobustNet"),
        ("--wt_layer 0 0 0 0 0 0 0", "does not standardise", "standardize=False"),
        (
            "--arch network.deepv3.DeepR50V3PlusD_OS8 --style_elimination",
            "output stride 8",
            "output_stride=8 and model.decode_head.dilations=(12, 24, 36)",
        ),
    ],
)
def test_what_no_parameter_shows_is_read_from_the_command(command, message, fix):
    with torch.device("meta"):
        content = released(DeepLab("resnet50"), command=command)
    with pytest.raises(UserError, match=message) as caught:
        load_segmentor_weights(ours(CONFIGS["resnet50"]), content, source="r50.pth")
    assert "r50.pth" in caught.value.message
    assert fix in caught.value.fix


def test_a_baseline_of_robustnet_loads_without_standardisation():
    cfg = Config.fromfile(CONFIGS["resnet50"]).model
    cfg.backbone.standardize = False
    with torch.device("meta"):
        network, segmentor = DeepLab("resnet50"), MODELS.build(cfg)
    content = released(network, command="--wt_layer 0 0 0 0 0 0 0")
    content["state_dict"] = zeros(content["state_dict"])
    load_segmentor_weights(segmentor, content)
    with pytest.raises(UserError, match="standardises the stem's output"):
        load_segmentor_weights(segmentor, released(network))


def test_instance_norms_with_weights_are_refused_by_name():
    with torch.device("meta"):
        network = DeepLab("mobilenet_v2")
        network.layer1[4].instance_norm_layer = nn.InstanceNorm2d(32, affine=True)
    with pytest.raises(UserError, match=r"IBN-Net .* layer1.4.instance_norm_layer.weight"):
        load_segmentor_weights(ours(CONFIGS["mobilenet_v2"]), network.state_dict())


def test_another_stem_is_refused_by_name():
    """RobustNet's ResNet-101."""
    with torch.device("meta"):
        state = DeepLab("resnet101").state_dict()
        for index, channels in ((0, 64), (3, 64), (6, 128)):
            state[f"layer0.{index}.weight"] = torch.empty(channels, 64 if index else 3, 3, 3)
    with pytest.raises(UserError, match="three convolutions in its stem"):
        load_segmentor_weights(ours(CONFIGS["resnet101"]), state)


def test_optimizer_and_numbers_of_numpy_are_read(tmp_path):
    content = released(nn.Linear(2, 2), mean_iu=np.float64(0.41))
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    torch.save(
        {**content, "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()},
        tmp_path / "snapshot.pth",
    )
    assert read_checkpoint(tmp_path / "snapshot.pth")["mean_iu"] == 0.41


def test_a_published_mask2former_says_its_levels(tmp_path):
    from mmseg_uda.apis import init_segmentor, publish

    cfg = Config.fromfile(MASK2FORMER)
    cfg.model.backbone.update(width=0.125, depth=0.25, init_cfg=None)
    cfg.model.decode_head.update(
        in_channels=[32, 64, 128, 256], channels=32, mask_channels=32, num_queries=5,
        encoder_layers=1, decoder_layers=1, encoder_ffn=64, decoder_ffn=64,
    )  # fmt: skip
    cfg.test_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackSegInputs")]
    head = {**cfg.model.decode_head, "top_down_levels": 3}
    state = MODELS.build({**cfg.model, "decode_head": head}).state_dict()
    torch.save({"state_dict": state}, tmp_path / "three.pth")
    published = publish(tmp_path / "three.pth", tmp_path / "out.pth", config=cfg)
    segmentor = init_segmentor(None, published, "cpu")
    assert segmentor.cfg.model.decode_head.top_down_levels == 3
