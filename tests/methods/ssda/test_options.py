"""What each option of the component changes, and which ones cannot work."""

import pytest
import torch
import torch.nn.functional as F
from nano import nano_config, optimizer, random_batch
from subdomains import LOW, PRIOR, SIZE, Recorder, cross_entropy

from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda import (
    Kernel,
    class_quota,
    dynamic_subdomains,
    seed_mask,
    truncated_crf_loss,
)
from mmseg_uda.models.views import upsample


@pytest.mark.parametrize(
    ("crf", "size"),
    [
        ({}, (16, 16)),
        ({"resolution": 0.25}, (4, 4)),
        ({"resolution": (64, 64)}, (64, 64)),
        ({"resolution": [20, 12]}, (20, 12)),
    ],
)
def test_resolution_of_the_crf(build, crf, size, monkeypatch):
    seen = []

    def loss(probability, modalities, source, destination, **options):
        seen.append((probability, modalities["rgb"], source, destination, options))
        return truncated_crf_loss(probability, modalities, source, destination, **options)

    monkeypatch.setattr(dynamic_subdomains, "truncated_crf_loss", loss)
    options = {
        "gate": "half_block",
        "rgb_space": "zscore",
        "sigma_rgb": 0.005,
        "radius": 2,
        "weight": 1.5,
    }
    trainer = build("hrda", host=LOW, crf={**crf, **options, "detach_source": True})
    record = Recorder(trainer)
    trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer))
    ((probability, colour, source, destination, given),) = seen
    assert {x.shape[-2:] for x in (probability, colour, source, destination)} == {size}
    logits = upsample(record.target_output.logits[0].logits, size)
    assert torch.allclose(probability, logits.softmax(1), atol=1e-5)
    assert torch.allclose(colour, F.adaptive_avg_pool2d(record.target.image, size), atol=1e-5)
    assert given["radius"] == 2 and given["detach_source"] is True
    assert given["kernels"] == (Kernel({"xy": 3.0, "rgb": 0.005}, 1.5),)


def test_a_grid_finer_than_the_image(build, step):
    with pytest.raises(UserError, match=r"crf.resolution=\(128, 64\).*\(64, 64\) pixels"):
        step(build("hrda", crf={"resolution": (128, 64)}))


@pytest.mark.parametrize("respect", [True, False])
def test_invalid_pixels_and_the_crf(build, respect, monkeypatch):
    gates = []

    def loss(probability, modalities, source, destination, **options):
        gates.append(source + destination)
        return truncated_crf_loss(probability, modalities, source, destination, **options)

    monkeypatch.setattr(dynamic_subdomains, "truncated_crf_loss", loss)
    host = dict(LOW, pseudo_weight_ignore_bottom=16)
    trainer = build(
        "hrda", host=host, quota=1.0, crf={"respect_valid": respect}, uncertainty={"source": "none"}
    )
    trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer))
    (gate,) = gates
    assert (gate[:, :12] > 0).any()
    assert bool((gate[:, 12:] > 0).any()) is not respect


@pytest.mark.parametrize("confidence", [True, False])
def test_weights_without_confidence(build, confidence):
    host = dict(LOW, pseudo_weight_ignore_top=8)
    trainer = build("hrda", host=host, use_confidence_weight=confidence, crf_loss_weight=0)
    record = Recorder(trainer)
    trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer))
    pseudo = record.pseudo
    seeds = seed_mask(record.uncertainty, pseudo.label, class_quota(PRIOR))
    weight = pseudo.weight if confidence else (pseudo.weight > 0).float()
    fused = record.target_output.logits[0]
    expected = 0.01 * 0.9 * cross_entropy(fused, pseudo.label, weight * seeds)
    assert record.losses["target.decode.loss_seg"].item() == pytest.approx(
        expected.item(), rel=1e-5
    )


@pytest.mark.parametrize(
    ("options", "source"),
    [
        (dict(scope="image"), "auto"),
        (dict(ties="exclude"), "none"),
        (dict(quota_valid_only=True), "auto"),
        (dict(min_pixels=3000), "auto"),
    ],
)
def test_options_reach_the_selection(build, options, source):
    host = dict(LOW, pseudo_weight_ignore_top=8)
    trainer = build("hrda", host=host, uncertainty={"source": source}, **options)
    record = Recorder(trainer)
    log = trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer))
    valid = torch.ones(2, *SIZE)
    valid[:, :8] = 0
    given = dict(options)
    if given.pop("quota_valid_only", False):
        given["valid"] = valid
    ratios = [
        seed_mask(record.uncertainty, record.pseudo.label, class_quota(PRIOR), **kwargs)
        for kwargs in (given, {})
    ]
    assert not torch.equal(*ratios)
    assert log["ssda.seed_ratio"].item() == pytest.approx(ratios[0].float().mean().item())


def test_ablations(build, step):
    seeds_only = step(build(crf_loss_weight=0))
    assert "target.loss_crf" not in seeds_only and "target.decode.loss_seg" in seeds_only
    crf_only = step(build(seed_loss_weight=0, branch_seed_loss=False))
    assert {k for k in crf_only if k.startswith("target.")} == {"target.loss_crf"}
    detail_only = step(build(seed_loss_weight=0))
    assert "target.decode.hr.loss_seg" in detail_only
    assert "target.decode.loss_seg" not in detail_only


def test_quotas(build):
    balanced = build().components["subdomains"].quota_by_class
    assert torch.equal(balanced, class_quota(PRIOR))
    constant = build(quota="constant").components["subdomains"].quota_by_class
    share = (torch.tensor(PRIOR).double() * balanced).sum()
    assert torch.allclose(constant, share.expand(5), atol=1e-7)
    assert build(quota=0.3).components["subdomains"].quota_by_class.tolist() == [0.3] * 5
    wide = build(beta=0.2).components["subdomains"].quota_by_class
    assert torch.equal(wide, class_quota(PRIOR, beta=0.2))


@pytest.mark.parametrize(
    ("absent", "quota", "expected"),
    [
        ("none", "balanced", 0.0),
        ("all", "balanced", 1.0),
        ("none", 0.3, 0.0),
        ("all", 0.3, 0.3),
        ("none", "constant", 0.0),
    ],
)
def test_quotas_of_a_class_that_the_source_lacks(build, absent, quota, expected):
    trainer = build(class_prior=[4, 3, 2, 1, 0], absent_class=absent, quota=quota)
    found = trainer.components["subdomains"].quota_by_class
    assert found[4].item() == expected
    assert (found[:4] > 0).all()


def test_published_table_is_the_default(build):
    trainer = build("x", segmentor=nano_config(19, dropout=0.1), class_prior="gta_pycda")
    quota = trainer.components["subdomains"].quota_by_class
    assert quota[0].item() == pytest.approx(0.201766, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(class_prior=[0.5, 0.5]), "has 2 classes, the segmentor predicts 5"),
        (dict(class_prior="gta_pycda"), "has 19 classes"),
        (dict(class_prior=[0, 0, 0, 0, 0]), "all class frequencies are 0"),
        (dict(class_prior="gta"), "class_prior='gta'"),
        (dict(quota=0), "quota=0"),
        (dict(quota="none"), "quota='none'"),
        (dict(beta=0), "beta=0"),
        (dict(target_weight=-1), "target_weight=-1"),
        (dict(target_weight=0), "No loss"),
        (dict(seed_loss_weight=0, branch_seed_loss=False, crf_loss_weight=0), "No loss"),
        (dict(weight_map="mixed"), "weight_map='mixed'"),
        (dict(pseudo_from="last"), "pseudo_from='last'"),
        (dict(crf={"radius": 0}), "crf.radius=0"),
        (dict(crf={"sigma": 3}), "crf.sigma is no option"),
        (dict(crf={"resolution": "full"}), "crf.resolution='full'"),
        (
            dict(uncertainty={"source": "none"}, uncertainty_grad=True, uncertainty_loss_weight=1),
            "uncertainty_grad=True works with",
        ),
        (dict(uncertainty_grad=True), "uncertainty_grad=True has no effect"),
    ],
)
def test_impossible_options(build, options, message):
    with pytest.raises(UserError, match=message):
        build("hrda", **options)


def test_source_only_has_no_target(build):
    with pytest.raises(UserError, match="source_only"):
        build("hrda", host=dict(source_only=True))


def test_a_seed_loss_of_branches_needs_branches(build):
    with pytest.raises(UserError, match="No loss"):
        build("daformer", seed_loss_weight=0, crf_loss_weight=0)
