"""Fusion, probabilities and threshold: numbers worked out by hand."""

import pytest
import torch

from mmseg_uda.methods.dynalign import candidate_probabilities, decide, fuse

V = torch.tensor([[1.0, 0.0]])
G = torch.tensor([[[0.6, 0.8], [0.0, 0.5]]])
TEXTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
ALL = torch.ones(1, 3, dtype=torch.bool)


def probability_of(*logits):
    """Probabilities of one region whose products with the texts are known."""
    features = torch.tensor([logits])
    return candidate_probabilities(features, torch.eye(len(logits)), torch.ones(1, len(logits)) > 0)


def chosen(probability, threshold, names=(7, 8), default=1, **options):
    names, default = torch.tensor(names), torch.tensor([default])
    return decide(probability, names, default, threshold, **options)


def test_context_counts_as_far_as_it_resembles_the_region():
    fused = fuse(V, G)
    assert torch.allclose(fused, torch.tensor([[0.88, 0.24]]), atol=1e-6)
    assert fused.norm().item() == pytest.approx(0.912140, abs=1e-6)
    assert fuse(V, G, renormalize=True).norm().item() == pytest.approx(1)


def test_context_equal_or_orthogonal_to_the_region_changes_nothing():
    v = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, 3.0]]), dim=-1)
    assert torch.allclose(fuse(v, v[:, None].expand(1, 2, 3)), v)
    orthogonal = torch.tensor([[[3.0, 0.0, -1.0], [0.0, 3.0, -2.0]]])
    assert torch.allclose(fuse(v, orthogonal), v)


def test_a_context_unlike_the_region_counts_against_itself():
    # s is not clamped: g = -v gives s = -1 and f = -1 * g + 2 * v = 3 v.
    assert torch.allclose(fuse(V, -V[:, None]), 3 * V)


def test_other_fusions():
    assert torch.allclose(fuse(V, G, "none"), V)
    assert torch.allclose(fuse(V, G, "context"), torch.tensor([[0.3, 0.65]]))
    assert torch.allclose(fuse(V, G, "mean"), torch.tensor([[0.65, 0.325]]))
    with pytest.raises(ValueError, match="clip"):
        fuse(V, G, "clip")


def test_probabilities_of_the_example():
    fused = fuse(V, G)
    assert torch.allclose(100 * fused @ TEXTS.t(), torch.tensor([[88.0, 24.0, 72.0]]))
    found = candidate_probabilities(fused, TEXTS, ALL, scale=5)
    assert found[0].tolist() == pytest.approx([0.671100, 0.027356, 0.301545], abs=1e-6)


def test_only_candidates_compete():
    found = candidate_probabilities(fuse(V, G), TEXTS, torch.tensor([[False, True, True]]), 5)
    assert found[0, 0] == 0
    assert found.sum().item() == pytest.approx(1)
    sole = candidate_probabilities(fuse(V, G), TEXTS, torch.tensor([[False, True, False]]))
    assert sole.tolist() == [[0.0, 1.0, 0.0]]
    assert candidate_probabilities(V, TEXTS, ~ALL).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("second", "probability", "target"), [(0.296, 0.598688, 1), (0.2955, 0.610639, 7)]
)
def test_the_published_threshold_is_a_small_margin(second, probability, target):
    found = probability_of(0.300, second)
    assert found.max().item() == pytest.approx(probability, abs=2e-6)
    decision = chosen(found, 0.6)
    assert decision.ids.tolist() == [target]
    assert decision.accepted.tolist() == [target == 7]
    assert decision.probability[0] == found.max()


def test_a_probability_equal_to_the_threshold_is_not_enough():
    assert chosen(probability_of(0.3, 0.3), 0.5).ids.tolist() == [1]
    # 0.6 has no exact 32-bit value; the nearest one still equals a threshold of 0.6.
    assert chosen(torch.tensor([[0.6, 0.4]]), 0.6).ids.tolist() == [1]


def test_extreme_thresholds():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 5, generator=generator)
    probability = candidate_probabilities(features, torch.eye(5), torch.ones(200, 5) > 0)
    names, default = torch.arange(10, 15), torch.arange(200)
    assert decide(probability, names, default, 1.0).ids.tolist() == default.tolist()
    best = decide(probability, names, default, 0.0).ids
    assert best.tolist() == (10 + features.argmax(1)).tolist()


def test_a_sole_candidate_is_certain_and_loses_only_at_threshold_one():
    sole = candidate_probabilities(V, TEXTS, torch.tensor([[False, True, False]]))
    names, default = torch.tensor([3, 4, 5]), torch.tensor([9])
    assert decide(sole, names, default, 0.999).ids.tolist() == [4]
    assert decide(sole, names, default, 1.0).ids.tolist() == [9]


def test_a_region_without_a_candidate_has_no_name():
    for summed in (False, True):
        decision = chosen(torch.tensor([[0.0, 0.0], [0.1, 0.9]]), 0.0, sum_per_id=summed)
        assert decision.name.tolist() == [-1, 1]
        assert decision.ids.tolist() == [1, 8]
        assert decision.accepted.tolist() == [False, True]


def test_a_sum_rounded_above_one_does_not_exceed_a_threshold_of_one():
    tenths = torch.full((1, 10), 0.1)
    assert torch.zeros(1, 1).index_add(1, torch.zeros(10).long(), tenths).item() > 1
    decision = chosen(tenths, 1.0, names=[7] * 10, sum_per_id=True)
    assert decision.ids.tolist() == [1]
    assert decision.probability.tolist() == [1.0]


def test_types_of_numbers_do_not_matter():
    expected = candidate_probabilities(fuse(V, G), TEXTS, torch.tensor([[False, True, True]]), 5)
    allowed = torch.tensor([[0, 1, 1]], dtype=torch.uint8)
    found = candidate_probabilities(fuse(V.double(), G.double()), TEXTS.double(), allowed, 5)
    assert torch.allclose(found, expected)
    assert found.dtype == torch.float32
    for summed in (False, True):
        names = torch.tensor([7, 8, 9], dtype=torch.int32)
        default = torch.tensor([1], dtype=torch.int16)
        decision = decide(found.double(), names, default, 0.6, summed)
        assert (decision.ids.dtype, decision.probability.dtype) == (torch.int64, torch.float32)
        assert decision.ids.tolist() == [9]


def test_a_feature_that_is_no_number_is_not_taken_for_a_missing_candidate():
    assert candidate_probabilities(V * torch.nan, TEXTS, ALL).isnan().all()


def test_names_of_one_id_stand_for_themselves_or_add_up():
    # Ids 7, 7 and 8: the second id has the best single name, the first the larger sum.
    probability = torch.tensor([[0.3, 0.25, 0.45]])
    alone = chosen(probability, 0.4, names=(7, 7, 8))
    assert (alone.ids.tolist(), alone.name.tolist()) == ([8], [2])
    summed = chosen(probability, 0.5, names=(7, 7, 8), sum_per_id=True)
    assert (summed.ids.tolist(), summed.name.tolist()) == ([7], [0])
    assert summed.probability.item() == pytest.approx(0.55)


def test_a_region_without_a_source_class_stays_out():
    for summed in (False, True):
        decision = chosen(torch.zeros(1, 2), 0.0, default=-1, sum_per_id=summed)
        assert decision.ids.tolist() == [-1]
        assert decision.name.tolist() == [-1]
        assert not decision.accepted.any()


@pytest.mark.parametrize("summed", [False, True])
def test_no_region(summed):
    decision = decide(
        torch.zeros(0, 3), torch.tensor([1, 2, 3]), torch.zeros(0).long(), 0.6, summed
    )
    assert decision.ids.shape == decision.probability.shape == (0,)
    assert fuse(torch.zeros(0, 4), torch.zeros(0, 2, 4)).shape == (0, 4)


def test_no_name():
    decision = decide(torch.zeros(2, 0), torch.zeros(0).long(), torch.tensor([4, -1]), 0.6)
    assert decision.ids.tolist() == [4, -1]
    assert decision.name.tolist() == [-1, -1]
    assert decision.probability.tolist() == [0, 0]
    assert decision.accepted.tolist() == [False, False]


def test_equal_candidates_give_the_first():
    assert chosen(probability_of(0.3, 0.3), 0.4).name.tolist() == [0]
