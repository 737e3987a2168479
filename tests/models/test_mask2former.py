import itertools
import sys

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from small import published

from mmseg_uda.errors import UserError
from mmseg_uda.models.mask_classification import (
    MaskClassificationLoss,
    MaskPredictions,
    mask_targets,
    semantic_scores,
)
from mmseg_uda.models.recompute import recompute_activations
from mmseg_uda.models.views import (
    decode_features,
    full_logits,
    full_prediction,
    segmentation_loss,
    training_forward,
)


def narrow(loss=None, **options):
    """A segmentor of the same parts with two and nine layers of width 32."""
    head = dict(
        type="TorchMask2FormerHead",
        in_channels=[32, 64, 128, 256],
        channels=32,
        mask_channels=16,
        num_queries=24,
        encoder_layers=2,
        num_heads=4,
        encoder_ffn=32,
        decoder_ffn=32,
        num_classes=19,
        loss_decode=dict(num_points=64, **(loss or {})),
    )
    backbone = dict(type="StagedBackbone", arch="resnet50", width=0.125, depth=0.25)
    cfg = dict(
        type="SlideEncoderDecoder",
        backbone=backbone,
        decode_head={**head, **options},
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )
    return MODELS.build(ConfigDict(cfg))


@pytest.fixture(scope="module")
def label():
    cells = torch.tensor([[[0, 0], [13, 255]], [[2, 10], [10, 18]]])
    return cells.repeat_interleave(32, 1).repeat_interleave(32, 2)


def test_published_config():
    model = published("mask2former_r50-os16")
    head, loss = model.decode_head, model.decode_head.loss_decode
    assert (len(head.pixel_decoder.encoder.layers), len(head.transformer.decoder.layers)) == (6, 9)
    assert head.transformer.queries_features.weight.shape == (100, 256)
    assert head.class_predictor.weight.shape == (20, 256)
    assert head.pixel_decoder.mask_projection.weight.shape == (256, 256, 1, 1)
    assert head.pixel_decoder.encoder.layers[0].fc1.out_features == 1024
    layer = head.transformer.decoder.layers[0]
    assert (layer.fc1.out_features, layer.self_attn.num_heads) == (2048, 8)
    assert (layer.pre_norm, layer.dropout, layer.cross_attn.dropout) == (False, 0, 0)
    assert [p[0].in_channels for p in head.pixel_decoder.input_projections] == [2048, 1024, 512]
    # one finer level, from the first stage
    assert [c[0].in_channels for c in head.pixel_decoder.lateral_convolutions] == [256]
    criterion = loss.criterion
    assert (criterion.num_points, criterion.oversample_ratio) == (12_544, 3)
    assert criterion.importance_sample_ratio == 0.75
    matcher = criterion.matcher
    assert (matcher.cost_class, matcher.cost_mask, matcher.cost_dice) == (2, 5, 5)
    assert list(loss.weights.values()) == [2, 5, 5]
    assert criterion.empty_weight.shape == (20,)
    assert loss.include_absent_classes
    assert not model.with_auxiliary_head
    assert not head.align_corners


def test_targets_of_all_classes(label):
    masks, classes = mask_targets(label, 19)
    for image, mask, names in zip(label, masks, classes, strict=True):
        assert names.tolist() == list(range(19))
        assert mask.shape == (19, 64, 64)
        for k in range(19):
            assert torch.equal(mask[k], (image == k).float())
    assert [int(m.sum((1, 2)).count_nonzero()) for m in masks] == [2, 3]
    assert masks[0].sum() == 64 * 64 - 32 * 32  # 255 belongs to no mask


def test_targets_of_present_classes(label):
    masks, classes = mask_targets(label, 19, include_absent_classes=False)
    assert [c.tolist() for c in classes] == [[0, 13], [2, 10, 18]]
    for image, mask, names in zip(label, masks, classes, strict=True):
        assert len(mask) == len(names)
        for one, k in zip(mask, names, strict=True):
            assert torch.equal(one, (image == k).float())


def test_targets_need_no_host(label, no_host_sync):
    mask_targets(label, 19)


def test_class_scores_by_hand():
    # one query is sure of class 1 and of the left half, the other of nothing
    classes = torch.tensor([[[-50.0, 50.0, -50.0], [0.0, 0.0, 0.0]]])
    masks = torch.tensor([[[[50.0, -50.0]], [[0.0, 0.0]]]])
    scores = semantic_scores(classes, masks)
    half = 1 / 6  # a third of the mask's half
    assert torch.allclose(scores, torch.tensor([[[[half, half]], [[1 + half, half]]]]))


def test_masks_are_enlarged_before_the_sigmoid():
    classes = torch.randn(2, 7, 6, requires_grad=True)
    masks = (4 * torch.randn(2, 7, 8, 12)).requires_grad_()
    scores = semantic_scores(classes, masks, (32, 40))
    large = F.interpolate(masks, size=(32, 40), mode="bilinear", align_corners=False).sigmoid()
    expected = torch.einsum("bqk,bqhw->bkhw", classes.softmax(-1)[..., :5], large)
    assert torch.allclose(scores, expected, atol=1e-5)
    weight = torch.randn_like(scores)
    ours = torch.autograd.grad((scores * weight).sum(), (classes, masks))
    theirs = torch.autograd.grad((expected * weight).sum(), (classes, masks))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def sampled(mask, points):
    """Values of a (h, w) map at (P, 2) positions in [0, 1]."""
    grid = 2 * points[None, :, None] - 1
    return F.grid_sample(mask[None, None], grid, align_corners=False).flatten()


def by_hand(classes, masks, targets, points, no_object=0.1):
    """The three losses of one output of one image, matched by trying every assignment.

    Points: those of the matching (P, 2) and of the losses (N, P, 2), in the order of queries.
    """
    names, truth = targets
    shares = classes.softmax(-1)

    def bce(logits, target):
        return F.binary_cross_entropy_with_logits(logits, target)

    def dice(logits, target):
        p = logits.sigmoid()
        return 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)

    def cost(query, n):
        at = points[0]
        pair = sampled(masks[query], at), sampled(truth[n], at)
        return float(-2 * shares[query, names[n]] + 5 * bce(*pair) + 5 * dice(*pair))

    costs = [[cost(q, n) for n in range(len(names))] for q in range(len(masks))]
    best = min(
        itertools.permutations(range(len(masks)), len(names)),
        key=lambda queries: sum(costs[q][n] for n, q in enumerate(queries)),
    )
    target = torch.full((len(masks),), classes.shape[-1] - 1)
    target[list(best)] = names
    weight = torch.ones(classes.shape[-1])
    weight[-1] = no_object
    pairs = [
        (sampled(masks[q], at), sampled(truth[best.index(q)], at))
        for q, at in zip(sorted(best), points[1], strict=True)
    ]
    return torch.stack(
        [
            2 * F.cross_entropy(classes, target, weight=weight),
            5 * torch.stack([bce(*pair) for pair in pairs]).mean(),
            5 * torch.stack([dice(*pair) for pair in pairs]).mean(),
        ]
    ), best


@pytest.mark.parametrize("include_absent_classes", [True, False])
def test_loss_by_hand(include_absent_classes):
    """Without oversampling the points are drawn in a known order."""
    queries, count, points = 5, 3, 40
    label = torch.tensor([[0, 0, 255], [2, 2, 2]])[None]
    label = label.repeat_interleave(6, 1).repeat_interleave(6, 2)
    layers = [
        (torch.randn(1, queries, count + 1), 3 * torch.randn(1, queries, 6, 9)) for _ in range(2)
    ]
    loss = MaskClassificationLoss(
        count,
        num_points=points,
        oversample_ratio=1,
        importance_sample_ratio=0,
        include_absent_classes=include_absent_classes,
    )
    predictions = MaskPredictions(*(tuple(x) for x in zip(*layers, strict=True)))
    torch.manual_seed(3)
    losses = loss(predictions, label)
    torch.manual_seed(3)
    names = torch.tensor([0, 1, 2] if include_absent_classes else [0, 2])
    truth = torch.stack([(label[0] == k).float() for k in names])
    expected, assignments = torch.zeros(3), []
    for classes, masks in reversed(layers):  # the last output comes first
        matching = torch.rand(1, points, 2)[0]
        torch.rand(len(names), points, 2)  # candidates, of which none is taken
        drawn = torch.rand(len(names), points, 2)
        part, best = by_hand(classes[0], masks[0], (names, truth), (matching, drawn))
        expected = expected + part
        assignments.append(best)
    assert list(losses) == ["loss_cls", "loss_mask", "loss_dice"]
    assert torch.allclose(torch.stack(list(losses.values())), expected, atol=1e-4)
    assert assignments[0] != assignments[1]  # every output is matched on its own


def test_uncertain_points_are_preferred():
    """With three quarters of importance, most points lie where the mask is undecided."""
    loss = MaskClassificationLoss(2, num_points=400)
    mask = torch.full((2, 1, 32, 32), 20.0)
    mask[:, :, :, 16:] = 0.0  # the right half
    points = loss.criterion.sample_points_using_uncertainty(
        mask, loss.criterion.calculate_uncertainty, 400, 3.0, 0.75
    )
    share = float((points[..., 0] > 0.5).float().mean())
    assert points.shape == (2, 400, 2)
    assert share == pytest.approx(0.75 + 0.25 / 2, abs=0.06)


def test_training_pass(label):
    model = narrow().train()
    image = torch.randn(2, 3, 64, 64)
    output = training_forward(model, image)
    assert len(output.masks.classes) == len(output.masks.masks) == 10
    assert output.masks.classes[0].shape == (2, 24, 20)
    assert output.masks.masks[0].shape == (2, 24, 16, 16)
    losses = segmentation_loss(model, output, label)
    assert list(losses) == [
        "decode.loss_cls",
        "decode.loss_mask",
        "decode.loss_dice",
        "decode.acc_seg",
    ]
    sum(value for name, value in losses.items() if "loss" in name).backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing  # DistributedDataParallel need not look for unused parameters
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_features_made_elsewhere(label):
    model = narrow().eval()
    image = torch.randn(2, 3, 64, 64)
    output = decode_features(model, model.extract_feat(image))
    scores = full_prediction(model, output, (64, 64))
    assert scores.shape == (2, 19, 64, 64)
    assert scores.requires_grad
    one = full_prediction(model, output, (64, 64), slice(1, 2))
    assert torch.allclose(one, scores[1:], atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(full_logits(model, image), scores, atol=1e-6)
        assert torch.allclose(model(image, mode="tensor"), output.logits[0].logits, atol=1e-6)
        assert torch.allclose(full_logits(model, image[:1]), scores[:1], atol=1e-5)


def test_weights_of_pixels_are_refused(label):
    model = narrow().train()
    output = training_forward(model, torch.randn(2, 3, 64, 64))
    with pytest.raises(UserError, match="no weights of pixels"):
        segmentation_loss(model, output, label, torch.ones(2, 64, 64))


def test_initial_values():
    head = narrow().decode_head
    attention = head.pixel_decoder.encoder.layers[0].self_attn
    # a ring of directions, one per head, further out with every point
    offsets = attention.sampling_offsets.bias.detach().view(4, 3, 4, 2)
    directions = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    for point in range(4):
        for level in range(3):
            assert torch.allclose(offsets[:, level, point], (point + 1) * directions, atol=1e-6)
    assert not attention.sampling_offsets.weight.any()
    assert not attention.attention_weights.weight.any()
    bound = (6 / (32 + 32)) ** 0.5
    for weight in (attention.value_proj.weight, head.transformer.decoder.layers[0].fc1.weight):
        assert 0.9 * bound < float(weight.detach().abs().max()) <= bound
    level = head.pixel_decoder.level_embed.detach()
    assert 0.5 < float(level.std()) < 1.5


def test_checkpoints_hold_the_network_alone():
    names = narrow().state_dict()
    assert not [n for n in names if "loss" in n or "criterion" in n]
    assert {n.split(".")[1] for n in names if n.startswith("decode_head.")} == {
        "pixel_decoder",
        "transformer",
        "class_predictor",
    }


def test_recomputed_decoder_is_the_same(label):
    image = torch.randn(2, 3, 64, 64)
    gradients = []
    for parts in ((), ("backbone", "decode_head")):
        torch.manual_seed(0)
        model = narrow().train()
        recompute_activations(model, parts)
        losses = segmentation_loss(model, training_forward(model, image), label)
        sum(value for name, value in losses.items() if "loss" in name).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name, value in gradients[0].items():
        assert torch.allclose(value, gradients[1][name], atol=1e-5), name


def test_half_precision(label):
    model = narrow().train()
    with torch.autocast("cpu", torch.bfloat16):
        output = training_forward(model, torch.randn(2, 3, 64, 64))
        losses = segmentation_loss(model, output, label)
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert full_prediction(model, output, (64, 64)).dtype == torch.float32
    sum(value for name, value in losses.items() if "loss" in name).backward()


@pytest.mark.parametrize("module", ["transformers.models.mask2former", "scipy.optimize"])
def test_missing_library_is_named(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"(?s)import of {module} .*pip install"):
        narrow()
