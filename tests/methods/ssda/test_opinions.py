"""The teacher's pass: which predictions are compared, and what it costs."""

import math

import pytest
import torch
from nano import nano_config, nano_hrda_config

from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda import entropy, jensen_shannon
from mmseg_uda.models.views import decoded_views, full_logits, single_scale_head, upsample
from mmseg_uda.self_training import StepRandom
from mmseg_uda.self_training.teacher import pseudo_labels

IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def opinion(trainer, **kwargs):
    component = trainer.components["subdomains"]
    return component.opinion_pass(trainer.teacher, IMAGE, StepRandom(1), **kwargs)


def calls(module):
    """Counts a module's forward passes."""
    count = [0]
    module.register_forward_pre_hook(lambda *_: count.__setitem__(0, count[0] + 1))
    return count


def plain(trainer):
    trainer.teacher.set_modes()
    with torch.no_grad():
        return full_logits(trainer.teacher.network, IMAGE)


@pytest.mark.parametrize("network", ["hrda", "daformer", "dlv2"])
def test_labels_come_from_the_pass_without_dropout(build, network):
    trainer = build(network)
    found = opinion(trainer)
    assert torch.equal(found.logits, plain(trainer))
    assert found.logits.dtype == torch.float32
    assert found.uncertainty.shape == (2, 64, 64)
    assert (found.uncertainty >= 0).all() and found.uncertainty.max() > 1e-4
    count = trainer.components["subdomains"].opinion_pass.count
    assert count == {"hrda": 3}.get(network, 8)
    assert found.uncertainty.max() <= math.log2(count)


def test_scales_are_compared_in_one_pass(build):
    trainer = build("hrda")
    network = trainer.teacher.network
    encoder, decoder = calls(network.backbone), calls(network.decode_head.head)
    found = opinion(trainer)
    passes = (encoder[0], decoder[0])
    reference = plain(trainer)
    assert passes == (encoder[0] - passes[0], decoder[0] - passes[1])  # those of the plain pass
    with torch.no_grad():
        views = decoded_views(network, IMAGE)
    assert [tuple(v.shape) for v in views] == [(2, 5, 16, 16), (2, 5, 8, 8), (2, 5, 16, 16)]
    maps = [upsample(v, (64, 64)).softmax(1) for v in views]
    assert torch.equal(upsample(views[0], (64, 64)), reference)
    assert torch.allclose(found.uncertainty, jensen_shannon(maps), atol=1e-6)


def test_attenuated_context(build):
    trainer = build("hrda", uncertainty={"attenuated_lr": True})
    network = trainer.teacher.network
    with torch.no_grad():
        trainer.teacher.set_modes()
        fused, context, detail = decoded_views(network, IMAGE)
        _, attenuated, _ = decoded_views(network, IMAGE, attenuated_context=True)
    assert not torch.allclose(context, attenuated)
    maps = [upsample(v, (64, 64)).softmax(1) for v in (fused, attenuated, detail)]
    assert torch.allclose(opinion(trainer).uncertainty, jensen_shannon(maps), atol=1e-6)


def test_equal_scales_are_sure(build):
    """A decoder that predicts its bias, whatever the image, agrees with itself."""
    trainer = build("hrda")
    head = trainer.teacher.network.decode_head
    with torch.no_grad():
        head.head.conv_seg.weight.zero_()
        head.head.conv_seg.bias.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0, -1.0]))
    found = opinion(trainer)
    assert found.uncertainty.max() <= 1e-6


@pytest.mark.parametrize("passes", [2, 5])
@pytest.mark.parametrize("network", ["hrda", "daformer", "dlv2"])
def test_dropout_runs_the_encoder_once(build, network, passes):
    options = dict(source="mc_dropout", passes=passes, dropout=0.2)
    trainer = build(network, uncertainty=options)
    segmentor = trainer.teacher.network
    encoder, decoder = calls(segmentor.backbone), calls(single_scale_head(segmentor))
    opinion(trainer)
    passes_of_one = (encoder[0], decoder[0])
    plain(trainer)
    assert passes_of_one == (encoder[0] - passes_of_one[0], decoder[0] - passes_of_one[1])


@pytest.mark.parametrize("network", ["hrda", "daformer", "dlv2"])
def test_dropout_equals_masked_networks(build, network):
    """Pass t is the network whose classifier has lost the channels of mask t."""
    trainer = build(network, uncertainty=dict(source="mc_dropout", passes=3, dropout=0.4))
    found = opinion(trainer)
    segmentor = trainer.teacher.network
    head = single_scale_head(segmentor)
    convolutions = getattr(head, "classifiers", None) or [head.conv_seg]
    masks = StepRandom(1).dropout_masks(3, convolutions[0].in_channels, 0.4, IMAGE.device)
    assert masks.unique().tolist() == pytest.approx([0, 1 / 0.6])
    kept = [conv.weight.clone() for conv in convolutions]
    maps = []
    for mask in masks:
        with torch.no_grad():
            for conv, weight in zip(convolutions, kept, strict=True):
                conv.weight.copy_(weight * mask.view(1, -1, 1, 1))
        maps.append(plain(trainer).softmax(1))
    assert torch.allclose(found.uncertainty, jensen_shannon(maps), atol=1e-5)


def test_default_rate_is_the_decoders(build):
    with_rate = build("daformer", uncertainty=dict(source="mc_dropout", dropout=0.3))
    default = build("daformer")  # its decoder has 0.3
    assert torch.equal(opinion(default).uncertainty, opinion(with_rate).uncertainty)


def test_other_random_numbers_other_masks(build):
    trainer = build("daformer")
    component = trainer.components["subdomains"]
    one, other = (
        component.opinion_pass(trainer.teacher, IMAGE, StepRandom(seed)) for seed in (1, 2)
    )
    assert torch.equal(one.logits, other.logits)
    assert not torch.equal(one.uncertainty, other.uncertainty)


def test_none_costs_and_says_nothing(build):
    trainer = build("hrda", uncertainty={"source": "none"})
    encoder = calls(trainer.teacher.network.backbone)
    found = opinion(trainer)
    assert encoder[0] == 2  # context and details, once
    assert torch.equal(found.uncertainty, torch.zeros(2, 64, 64))


def test_repeated_passes_without_dropout_are_identical(build):
    """The released code's uncertainty."""
    trainer = build("hrda", uncertainty=dict(source="repeat", passes=2))
    encoder = calls(trainer.teacher.network.backbone)
    found = opinion(trainer)
    assert encoder[0] == 4
    assert torch.equal(found.uncertainty, torch.zeros(2, 64, 64))


@pytest.mark.parametrize("pseudo_from", ["deterministic", "first", "mean"])
def test_repeated_passes_with_dropout(build, pseudo_from):
    options = dict(source="repeat", passes=3, enable_dropout=True)
    trainer = build("daformer", uncertainty=options, pseudo_from=pseudo_from)
    encoder = calls(trainer.teacher.network.backbone)
    found = opinion(trainer)
    assert encoder[0] == (4 if pseudo_from == "deterministic" else 3)
    assert found.uncertainty.max() > 1e-4
    head = trainer.teacher.network.decode_head
    assert not head.dropout.training  # switched off again
    head.dropout.train()
    StepRandom(1)  # seeds dropout, as it did for the component
    with torch.no_grad():
        passes = [full_logits(trainer.teacher.network, IMAGE) for _ in range(3)]
    head.dropout.eval()
    mean = torch.stack([p.softmax(1) for p in passes]).mean(0)
    expected = {
        "deterministic": plain(trainer).softmax(1),
        "first": passes[0].softmax(1),
        "mean": mean,
    }[pseudo_from]
    assert torch.allclose(found.logits.softmax(1), expected, atol=1e-6)
    assert torch.allclose(
        found.uncertainty, entropy(mean) - sum(entropy(p.softmax(1)) for p in passes) / 3, atol=1e-5
    )


def test_repeated_passes_with_stochastic_depth(build):
    cfg = nano_config(size=(64, 64))
    cfg["backbone"] = dict(type="MiT", variant="b0", embed_dims=8, drop_path_rate=0.5)
    cfg["decode_head"]["in_channels"] = [8, 16, 40, 64]
    without, with_ = (
        build("x", segmentor=cfg, uncertainty=dict(source="repeat", passes=2, enable_droppath=on))
        for on in (False, True)
    )
    found = opinion(with_)
    assert torch.equal(found.logits, plain(with_))
    assert found.uncertainty.max() > 0  # exactly 0 if the two passes were equal
    assert opinion(without).uncertainty.max() == 0


def test_mean_of_the_scales_gives_the_labels(build):
    trainer = build("hrda", pseudo_from="mean")
    with torch.no_grad():
        trainer.teacher.set_modes()
        views = decoded_views(trainer.teacher.network, IMAGE)
    mean = torch.stack([upsample(v, (64, 64)).softmax(1) for v in views]).mean(0)
    found = pseudo_labels(opinion(trainer).logits, 0.5, lambda c: c.float().mean().expand(2))
    assert torch.allclose(found.confidence, mean.max(1).values, atol=1e-6)


def test_at_stride_is_cheaper_and_close(build):
    exact = opinion(build("hrda")).uncertainty
    coarse = opinion(build("hrda", uncertainty={"at": "stride"}))
    assert coarse.uncertainty.shape == exact.shape
    assert not torch.equal(coarse.uncertainty, exact)
    # away from the borders of cells both agree
    assert (coarse.uncertainty - exact).abs().mean() < 0.5 * exact.mean()
    assert torch.equal(coarse.logits, opinion(build("hrda")).logits)


def test_dropout_without_dropout_is_explained(build):
    with pytest.raises(UserError, match="DLV2Head has none") as error:
        build("dlv2", uncertainty={"source": "mc_dropout"})
    assert "every pixel a seed" in str(error.value)
    assert "uda.subdomains.uncertainty.dropout=0.1" in error.value.fix
    with pytest.raises(UserError, match="DLV2Head has none"):
        build("dlv2", uncertainty={})  # auto resolves to it
    with pytest.raises(UserError, match="is given as 0"):
        build("daformer", uncertainty={"source": "mc_dropout", "dropout": 0})
    with pytest.raises(UserError, match="DAFormerHead has none"):
        build("x", segmentor=nano_hrda_config(), uncertainty={"source": "mc_dropout"})


@pytest.mark.parametrize(
    ("network", "uncertainty", "message"),
    [
        ("daformer", dict(source="scale_views"), "HRDA's scales"),
        ("dlv2", dict(source="repeat", enable_dropout=True), "has no dropout"),
        ("daformer", dict(source="repeat", enable_droppath=True), "has no droppath"),
        ("hrda", dict(source="views"), "uncertainty.source='views'"),
        ("hrda", dict(passes=1), "uncertainty.passes=1"),
        ("hrda", dict(at="pixel"), "uncertainty.at"),
        ("hrda", dict(dropout=1.0), "uncertainty.dropout"),
        ("hrda", dict(rate=0.1), "uncertainty.rate is no option"),
    ],
)
def test_impossible_uncertainty(build, network, uncertainty, message):
    with pytest.raises(UserError, match=message):
        build(network, uncertainty=uncertainty)


def test_any_mmseg_decoder_can_drop_channels(build):
    cfg = nano_config()
    cfg["decode_head"] = dict(
        type="FCNHead", in_channels=24, in_index=3, channels=8, num_convs=1, concat_input=False,
        dropout_ratio=0.2, num_classes=5, loss_decode=dict(type="PixelCrossEntropy"),
    )  # fmt: skip
    trainer = build("x", segmentor=cfg)
    found = opinion(trainer)
    assert torch.equal(found.logits, plain(trainer))
    assert found.uncertainty.max() > 1e-4
