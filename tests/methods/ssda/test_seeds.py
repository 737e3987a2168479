"""Quotas from the class prior and the seeds that they select."""

import math

import pytest
import torch

from mmseg_uda.methods.ssda import GTA_PRIOR, class_quota, seed_mask
from mmseg_uda.methods.ssda.seeds import seed_ratios, seed_share

HALF = class_quota([0.5, 0.5])

PUBLISHED = [
    0.201766, 0.337197, 0.265890, 0.487402, 0.594374, 0.542864, 0.749519, 0.800375, 0.345870,
    0.472420, 0.288175, 0.650283, 0.897486, 0.456600, 0.536741, 0.648574, 0.822222, 0.894424, 1.0,
]  # fmt: skip


def test_published_table():
    assert class_quota(GTA_PRIOR).tolist() == pytest.approx(PUBLISHED, abs=1e-6)


@pytest.mark.parametrize(
    ("frequency", "quota"),
    [(0.5, 0.1693147), (0.9, 0.1105361), (0.1, 0.3302585), (math.exp(-9), 1.0)],
)
def test_quota_of_one_class(frequency, quota):
    both = class_quota([frequency, 1 - frequency])
    assert both[0].item() == pytest.approx(quota, abs=1e-7)


def test_quota_of_the_only_class():
    assert class_quota([1.0]).item() == pytest.approx(0.1)
    assert class_quota([1.0], beta=0.2).item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("frequency", "pixels", "seeds"),
    [(0.9, 100, 12), (0.1, 100, 34), (GTA_PRIOR[0], 1000, 202), (GTA_PRIOR[18], 1000, 1000)],
)
def test_number_of_seeds(frequency, pixels, seeds):
    quota = class_quota([frequency, 1 - frequency])
    uncertainty = torch.rand(1, 1, pixels)
    label = torch.zeros(1, 1, pixels, dtype=torch.int64)
    assert seed_mask(uncertainty, label, quota).sum().item() == seeds


def test_scale_of_the_prior_does_not_matter():
    counts = torch.tensor(GTA_PRIOR) * 3e9
    assert torch.allclose(class_quota(counts), class_quota(GTA_PRIOR), atol=1e-7)


@pytest.mark.parametrize(("absent", "quota"), [("none", 0.0), ("all", 1.0)])
def test_classes_that_the_source_lacks(absent, quota):
    result = class_quota([0.5, 0.0, 0.5], absent=absent)
    assert result[1].item() == quota
    assert result[0].item() == pytest.approx(0.1693147, abs=1e-7)


@pytest.mark.parametrize("prior", [[0, 0], [0.5, -0.1], [1, float("nan")], [1, float("inf")]])
def test_impossible_priors(prior):
    with pytest.raises(ValueError, match="frequencies"):
        class_quota(prior)


def test_share_of_seeds_under_the_prior():
    prior = [0.9, 0.1]
    expected = 0.9 * 0.1105361 + 0.1 * 0.3302585
    assert seed_share(prior, class_quota(prior)) == pytest.approx(expected, abs=1e-6)


UNSURE = torch.tensor([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]).view(1, 3, 4)
CLASS_0 = torch.zeros(1, 3, 4, dtype=torch.int64)


def test_the_surest_pixels_are_seeds():
    seeds = seed_mask(UNSURE, CLASS_0, HALF)  # ceil(12 · 0.169) = 3
    assert seeds.dtype == torch.bool
    assert seeds.flatten().tolist() == [True] * 3 + [False] * 9


@pytest.mark.parametrize(("pixels", "seeds"), [(10, 0), (11, 2)])
def test_a_class_needs_more_than_ten_pixels(pixels, seeds):
    uncertainty = UNSURE.flatten()[:pixels].view(1, 1, -1)
    label = torch.zeros(1, 1, pixels, dtype=torch.int64)
    assert seed_mask(uncertainty, label, HALF).sum().item() == seeds


def test_ties():
    sure = torch.zeros(1, 3, 4)
    assert seed_mask(sure, CLASS_0, HALF).all()
    exact = seed_mask(sure, CLASS_0, HALF, ties="exclude")
    assert exact.flatten().tolist() == [True] * 3 + [False] * 9  # first in row-major order


def test_negative_zero_is_zero():
    uncertainty = -torch.zeros(1, 3, 4)
    assert seed_mask(uncertainty, CLASS_0, HALF).all()


def test_classes_do_not_leak():
    """The released comparison counts class 0 twice here."""
    label = torch.arange(2).repeat_interleave(20).view(1, 5, 8)
    seeds = seed_mask(label.float(), label, HALF)
    assert seeds.dtype == torch.bool and seeds.all()


def random_case(seed, batch=2, classes=6):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, batch, classes, 20, 25, generator=generator)
    from mmseg_uda.methods.ssda import jensen_shannon

    uncertainty = jensen_shannon(logits.softmax(dim=2).unbind())
    label = torch.randint(0, classes - 1, (batch, 20, 25), generator=generator)  # the last absent
    label[0, 0, :7] = 2
    label[label == 3] = torch.where(torch.arange(int((label == 3).sum())) < 9, 3, 4)
    quota = class_quota(torch.rand(classes, generator=generator))
    quota[1] = 1.0
    return uncertainty, label, quota


def by_class(uncertainty, label, quota, min_pixels=10):
    """A sort per class."""
    seeds = torch.zeros_like(label, dtype=torch.bool)
    for c, rate in enumerate(quota.tolist()):
        inside = label == c
        count = int(inside.sum())
        if count <= min_pixels:
            continue
        k = math.ceil(count * rate)
        threshold = uncertainty[inside].sort().values[k - 1]
        seeds |= inside & (uncertainty <= threshold)
    return seeds


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_a_sort_per_class(seed, batch):
    case = random_case(seed, batch)
    expected = by_class(*case)
    assert 0 < expected.sum() < expected.numel()
    assert torch.equal(seed_mask(*case), expected)
    assert torch.equal(seed_mask(*case, ties="exclude"), expected)  # no ties in random numbers


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_every_integer_type(dtype):
    uncertainty, label, quota = random_case(2)
    expected = seed_mask(uncertainty, label, quota)
    assert torch.equal(seed_mask(uncertainty, label.to(dtype), quota), expected)


@pytest.mark.parametrize(("dtype", "classes"), [(torch.int8, 200), (torch.uint8, 256)])
def test_more_classes_than_the_labels_type_holds(dtype, classes):
    uncertainty, label, quota = random_case(2)
    many = torch.cat([quota, quota.new_ones(classes - len(quota))])
    expected = seed_mask(uncertainty, label, many)
    assert expected.any()
    assert torch.equal(seed_mask(uncertainty, label.to(dtype), many), expected)


@pytest.mark.parametrize("ties", ["include", "exclude"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_uncertainty_of_every_float_type(dtype, ties):
    uncertainty, label, quota = random_case(2)
    uncertainty = uncertainty.to(dtype)
    found = seed_mask(uncertainty, label, quota, ties=ties)
    # Ranks in place of the values.
    ranks = torch.unique(uncertainty, return_inverse=True)[1].float()
    assert torch.equal(found, seed_mask(ranks, label, quota, ties=ties))


def test_double_precision_is_not_rounded():
    uncertainty = (1 + torch.arange(12.0, dtype=torch.float64) * 1e-12).view(1, 3, 4)
    assert seed_mask(uncertainty, CLASS_0, HALF).flatten().tolist() == [True] * 3 + [False] * 9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_is_no_number_is_never_sure(sign, dtype):
    uncertainty = UNSURE.to(dtype).clone()
    uncertainty[0, 0, 0] = math.copysign(math.nan, sign)
    seeds = seed_mask(uncertainty, CLASS_0, HALF)
    assert seeds.flatten().tolist() == [False] + [True] * 3 + [False] * 8


def test_maps_in_another_memory_order():
    uncertainty, label, quota = random_case(2)
    turned = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (uncertainty, label)]
    assert not turned[0].is_contiguous()
    for ties in ("include", "exclude"):
        expected = seed_mask(uncertainty, label, quota, ties=ties)
        assert torch.equal(seed_mask(*turned, quota, ties=ties), expected)


def test_quotas_by_image():
    uncertainty, label, quota = random_case(7, batch=3)
    seeds = seed_mask(uncertainty, label, quota, scope="image")
    for n in range(3):
        alone = seed_mask(uncertainty[n : n + 1], label[n : n + 1], quota)
        assert torch.equal(seeds[n], alone[0])
    assert not torch.equal(seeds, seed_mask(uncertainty, label, quota))


def test_seeds_of_a_class_depend_on_its_own_pixels_alone():
    uncertainty, label, quota = random_case(3)
    before = seed_mask(uncertainty, label, quota)
    other = torch.where(label == 1, uncertainty, torch.rand_like(uncertainty) * 2)
    after = seed_mask(other, label, quota)
    assert torch.equal(before[label == 1], after[label == 1])


def test_pixels_that_do_not_count():
    uncertainty, label, quota = random_case(4)
    valid = (torch.rand(label.shape, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    seeds = seed_mask(uncertainty, label, quota, valid=valid)
    ignored = torch.where(valid > 0, label, 255)
    assert torch.equal(seeds, seed_mask(uncertainty, ignored, quota))
    assert torch.equal(seeds, by_class(uncertainty, ignored, quota))
    assert not seeds[valid == 0].any()


def test_a_quota_of_zero_gives_no_seeds():
    assert not seed_mask(UNSURE, CLASS_0, torch.zeros(2)).any()


def test_ratios():
    label = torch.tensor([[[0, 0, 0, 0], [2, 2, 255, 255]]])
    seeds = torch.tensor([[[1, 0, 0, 0], [1, 1, 0, 0]]]).bool()
    assert seed_ratios(label, seeds, 3).tolist() == [0.25, 0.0, 1.0]


@pytest.mark.parametrize("change", [dict(scope="run"), dict(ties="some")])
def test_unknown_rules(change):
    with pytest.raises(ValueError, match="scope"):
        seed_mask(UNSURE, CLASS_0, HALF, **change)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("ties", ["include", "exclude"])
@pytest.mark.parametrize("scope", ["batch", "image"])
def test_on_a_gpu_without_waiting(ties, scope):
    case = random_case(5)
    expected = seed_mask(*case, ties=ties, scope=scope)
    on_gpu = [x.cuda() for x in case]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        seeds = seed_mask(*on_gpu, ties=ties, scope=scope)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(seeds.cpu(), expected)
