"""Similarity and search."""

import pytest
import torch
from operations import Operations

from mmseg_uda.methods.cdda import (
    PrunedSearch,
    ResidentSearch,
    class_similarity,
    composition,
    image_similarity,
)
from mmseg_uda.models.precision import exact_float32


@pytest.fixture(params=["resident", "pruned"])
def search(request):
    def build(bank, **options):
        if request.param == "pruned":
            options.pop("memory", None)
            return PrunedSearch(bank.numpy(), **options)
        return ResidentSearch(bank, **options)

    return build


SIMILARITIES = torch.tensor(
    [[1, 1, 0], [0.603553, 0.849342, 0], [0, 0, 0], [0, 0, 0], [0.833333, 0.833333, 0]]
).double()


def test_similarity_of_five_entries(small_bank):
    bank, target = small_bank
    found = image_similarity(bank.transpose(0, 1), target)
    near = {"atol": 1e-6, "rtol": 0}
    torch.testing.assert_close(found.classes, SIMILARITIES, **near)
    for name, expected in {
        "composition": [1, 0.577350, 0, 1, 1],
        "total": [2, 0.838829, 0, 0, 1.666667],
        "score": [1, 0.419415, 0, 0, 0.833333],
    }.items():
        torch.testing.assert_close(getattr(found, name), torch.tensor(expected).double(), **near)


def test_the_best_entry_wins_and_the_first_of_equals(small_bank, search):
    bank, target = small_bank
    match = search(bank[:, [1, 0, 2, 3]])(target)
    assert match.index.tolist() == [1] and match.score.item() == pytest.approx(1)
    assert torch.equal(match.counts[0], bank[:, 0])
    assert search(bank[:, [0, 0]])(target).index.tolist() == [0]
    assert search(bank[:, [2, *[0] * 100]])(target).index.tolist() == [1]
    assert search(bank[:, [2, 3]])(target).index.tolist() == [0]  # all score 0


def test_the_overlap_is_the_dice_coefficient_of_the_counts():
    generator = torch.Generator().manual_seed(0)
    s, t = torch.randint(0, 1000, (2, 19, 256), generator=generator).double()
    distance = (s - t).abs().sum(-1) / (s.sum(-1) + t.sum(-1))
    dice = 2 * torch.minimum(s, t).sum(-1) / (s.sum(-1) + t.sum(-1))
    torch.testing.assert_close(1 - distance, dice, atol=1e-6, rtol=0)
    cosine = torch.nn.functional.cosine_similarity(s, t, dim=-1)
    expected = (cosine + dice) / 2
    torch.testing.assert_close(image_similarity(s, t).classes, expected, atol=1e-6, rtol=0)


def test_totals_of_the_deterministic_fixture(fixture_bank, search):
    bank, target = fixture_bank
    found = image_similarity(bank.transpose(0, 1), target)
    near = {"atol": 1e-6, "rtol": 0}
    totals = torch.tensor([2.667756, 2.563653, 1.958581, 2.669070, 2.557763]).double()
    torch.testing.assert_close(found.total, totals, **near)
    parts = torch.tensor([0.609866, 0.584169, 0.521935, 0.608819, 0.583952]).double()
    torch.testing.assert_close(found.composition, parts, **near)
    match = search(bank)(target)
    assert match.index.tolist() == [3]
    assert match.score.item() == pytest.approx(0.222422, abs=1e-6)
    assert match.score.item() == pytest.approx(2.669070 / 12, abs=1e-6)  # K = 12
    expected = torch.zeros(19).double()
    for c, value in {
        1: 0.622378, 2: 0.622656, 8: 0.623926, 10: 0.630316,
        13: 0.627039, 16: 0.630833, 17: 0.626866,
    }.items():  # fmt: skip
        expected[c] = value
    torch.testing.assert_close(match.similarity[0], expected, **near)


def literal(bank, target):
    """The formulas word by word, one entry and one class after the other."""
    best, totals = None, []
    present = [c for c in range(len(target)) if target[c].sum() > 0]
    for n in range(bank.shape[1]):
        total = 0.0
        for c in present:
            s, t = bank[c, n].double(), target[c].double()
            if s.sum() == 0:
                continue
            p, q = s / s.sum(), t / t.sum()
            cosine = (p * q).sum() / (p.norm() * q.norm())
            total += float(cosine + 1 - (s - t).abs().sum() / (s.sum() + t.sum())) / 2
        sizes, mine = bank[:, n].double().sum(-1), target.double().sum(-1)
        total *= float(sizes @ mine / (sizes.norm() * mine.norm())) if sizes.any() else 0.0
        totals.append(total)
        best = n if best is None or total > totals[best] else best
    return best, totals[best] / len(present)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float64])
def test_counts_of_every_type_are_taken(small_bank, search, dtype):
    bank, target = small_bank
    expected, found = search(bank)(target), search(bank.to(dtype))(target.to(dtype))
    for name in ("index", "score", "similarity", "counts"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    pairs = bank.transpose(0, 1).to(dtype), target.to(dtype)
    exact = image_similarity(*pairs)
    torch.testing.assert_close(class_similarity(*pairs), exact.classes)
    torch.testing.assert_close(composition(*pairs), exact.composition)


def test_search_equals_the_literal_formulas(random_bank, search):
    bank, target = random_bank
    match = search(bank)(target)
    for b in range(3):
        index, score = literal(bank, target[b])
        assert int(match.index[b]) == index
        assert float(match.score[b]) == pytest.approx(score, abs=1e-9)


def test_a_batch_equals_its_images(random_bank, search):
    bank, target = random_bank
    run = search(bank)
    together = run(target)
    for b in range(3):
        alone = run(target[b : b + 1])
        assert torch.equal(alone.index, together.index[b : b + 1])
        assert torch.equal(alone.score, together.score[b : b + 1])


def test_permuting_the_bank_permutes_the_match(random_bank, search):
    bank, target = random_bank
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    before, after = search(bank)(target), search(bank[:, order])(target)
    assert torch.equal(order[after.index], before.index)
    assert torch.equal(after.score, before.score)


def test_the_result_does_not_depend_on_how_much_is_done_at_once(random_bank):
    bank, target = random_bank
    results = [ResidentSearch(bank, memory=m)(target) for m in (1, 40_000, 10**9)]
    for other in results[1:]:
        assert torch.equal(results[0].index, other.index)
        assert torch.equal(results[0].score, other.score)


def set_older(value):
    torch.set_float32_matmul_precision(value)


def set_newer(value):
    torch.backends.cuda.matmul.fp32_precision = value


@pytest.mark.parametrize(
    ("set_precision", "reduced", "normal", "name"),
    [
        (set_older, "high", "highest", "float32_matmul_precision"),
        (set_older, "medium", "highest", "float32_matmul_precision"),
        (set_newer, "tf32", "none", "fp32_precision"),
    ],
)
def test_reduced_precision_of_the_training_does_not_reach_the_search(
    random_bank, set_precision, reduced, normal, name
):
    if set_precision is set_newer and not hasattr(torch.backends.cuda.matmul, name):
        pytest.skip("torch 2.9 brought these settings")
    bank, target = random_bank
    bank, target = bank * 200, target * 200  # beyond float16
    search = ResidentSearch(bank)
    expected = search(target)
    inside = []
    set_precision(reduced)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = search(target)
            with exact_float32(torch.device("cpu")):
                inside.append(torch.get_float32_matmul_precision())
                inside.append(torch.is_autocast_enabled("cpu"))
        if set_precision is set_older:
            assert torch.get_float32_matmul_precision() == reduced
        else:
            assert torch.backends.cuda.matmul.fp32_precision == reduced
    finally:
        set_precision(normal)
    assert inside == ["highest", False]
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.equal(found.index, expected.index) and torch.equal(found.score, expected.score)


def test_float32_totals_are_close_to_the_exact_ones(random_bank):
    from mmseg_uda.methods.cdda.search import Factors, totals

    bank, target = random_bank
    mine = target.transpose(0, 1).contiguous()
    norms = ResidentSearch(bank).norms
    fast = totals(Factors(bank, bank), Factors(mine, mine), norms, mine)
    exact = image_similarity(bank.transpose(0, 1)[:, None], target)
    assert (fast - exact.total).abs().max() < 1e-5


def test_a_search_makes_nothing_of_the_banks_size_and_reads_no_value():
    generator = torch.Generator().manual_seed(0)
    bank = torch.randint(0, 50, (3, 4000, 256), generator=generator).float()
    search, target = ResidentSearch(bank), bank[:, 7:9].transpose(0, 1).contiguous()
    with Operations() as operations:
        match = search(target)
    assert match.index.tolist() == [7, 8] and operations.waits == []
    made = [size for name, size in operations.sizes if name != "slice.Tensor"]  # a view
    scores = 3 * 4000 * 2 * 4
    counts_of_a_class = 4000 * 256 * 4
    assert scores <= max(made) < counts_of_a_class / 20


@pytest.mark.parametrize("seed", [5, 11, 14, 18, 24, 39])
def test_entries_that_float32_cannot_tell_apart_are_compared_exactly(seed, search):
    """Twelve crops that differ in some pixels of millions; float32 would take another one."""
    generator = torch.Generator().manual_seed(seed)

    def image():
        return (torch.rand(19, 1, 256, generator=generator) ** 4 * 20000).round()

    other = torch.randint(0, 2, (19, 12, 256), generator=generator)
    bank = image() + other * (torch.rand(19, 12, 256, generator=generator) < 0.002)
    target = image().transpose(0, 1)
    exact = image_similarity(bank.transpose(0, 1), target).total
    assert exact.max() - exact.min() < 1e-5
    assert search(bank)(target).index.item() == exact.argmax().item()


def test_no_entry_that_may_win_is_pruned(random_bank, monkeypatch):
    """One entry at a time, as long as a bound reaches the best total so far."""
    monkeypatch.setattr("mmseg_uda.methods.cdda.pruned_search.AT_ONCE", 1)
    bank, _ = random_bank
    targets = bank[:, :60].roll(1, 1).add(bank[:, 60:120]).transpose(0, 1)  # like no entry
    pruned, resident = PrunedSearch(bank.numpy())(targets), ResidentSearch(bank)(targets)
    assert torch.equal(pruned.index, resident.index)
    assert torch.equal(pruned.score, resident.score)


def test_pruning_bounds_hold_and_save_reading(random_bank):
    from mmseg_uda.methods.cdda.pruned_search import coarse
    from mmseg_uda.methods.cdda.search import totals

    bank, target = random_bank
    search = PrunedSearch(bank.numpy())
    mine = target.transpose(0, 1).contiguous()
    bound = totals(search.bank, coarse(mine), search.norms, mine)
    exact = image_similarity(bank.transpose(0, 1)[:, None], target).total
    assert (bound >= exact - 1e-5).all()
    search(target)
    assert all(read < 300 for read in search.read)


def test_an_uninteresting_best_score_needs_no_further_reading(random_bank):
    bank, target = random_bank
    search = PrunedSearch(bank.numpy())
    match = search(target, floor=1.0)
    assert search.read == [64, 64, 64]
    assert (match.score < 1).all()


def test_small_classes_can_be_left_out(counts):
    bank = counts({0: {10: 4}})[:, None]
    target = counts({0: {10: 4}, 1: {20: 3}})[None]
    match = ResidentSearch(bank, min_class_pixels=4)(target)
    # class 1 counts neither in the sum nor in K, but still in the composition
    assert match.score.item() == pytest.approx(0.8)
    assert match.similarity[0].tolist() == [1, 0, 0]


def test_a_missing_class_halves_the_score(counts):
    bank = counts({0: {10: 4}}, 19)[:, None]
    target = counts({0: {10: 4}, 9: {20: 4}}, 19)[None]
    found = image_similarity(bank.transpose(0, 1), target)
    assert found.composition.item() == pytest.approx(0.707107, abs=1e-6)
    assert found.score.item() == pytest.approx(0.353553, abs=1e-6)


def test_entries_and_targets_without_pixels(search):
    bank = torch.zeros(3, 2, 256)
    match = search(bank)(torch.zeros(1, 3, 256))
    assert match.index.tolist() == [0] and match.score.item() == 0
