"""The step of several processes: gradients, agreement, and that they stay the same."""

import pytest
import torch
from process_tasks import alone, exchange_of_parts, train
from processes import together


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients.values()])


def difference(found, expected):
    return ((flat(found) - flat(expected)).norm() / flat(expected).norm()).item()


def mean(*gradients):
    return {name: sum(g[name] for g in gradients) / len(gradients) for name in gradients[0]}


def same(one, other):
    return [
        n for n in one if not torch.equal(one[n], other[n])
    ] == [] and one.keys() == other.keys()


@pytest.fixture(scope="module")
def ten_steps():
    """Ten steps of two processes with every component of the main job on HRDA."""
    return together(train, 10)


@pytest.mark.parametrize("step", [0, 3])
def test_the_gradient_is_the_mean_of_the_processes_own(ten_steps, step):
    state = ten_steps[0]["states"][step]
    each = [alone(state, rank, [step]) for rank in range(2)]
    assert difference(ten_steps[0]["gradients"][step], mean(*each)) < 1e-5
    assert difference(each[0], each[1]) > 0.1  # other images, other draws


def test_one_reduction_per_step(ten_steps):
    # In the third also those of the three counters that the end of the collection needs.
    assert ten_steps[0]["reductions"] == [1, 1, 1 + 3, 1, 1, 1, 1, 1, 1, 1]


def test_networks_are_the_same_in_all_processes(ten_steps):
    first, second = (result["states"] for result in ten_steps)
    for step in range(1, 10):
        networks = [
            {n: v for n, v in states[step].items() if "components.relabel" not in n}
            for states in (first, second)
        ]
        assert same(*networks), step
    assert same(first[10], second[10])  # after a checkpoint the counters too
    names = first[10].keys()
    assert any(n.startswith("ema_model.") and "running_var" in n for n in names)
    assert any(n.startswith("components.masking.ema_model.") for n in names)
    assert not same(first[0], first[10])


def test_counters_are_summed(ten_steps):
    counts = "components.relabel.counts"
    each = [result["states"][2][counts].sum() for result in ten_steps]  # collected in 0 and 1
    assert [result["states"][3][counts].sum() for result in ten_steps] == [sum(each)] * 2
    assert [result["states"][10][counts].sum() for result in ten_steps] == [sum(each)] * 2
    assert ten_steps[0]["states"][10]["components.relabel.source"].tolist() == [13]
    assert ten_steps[0]["states"][10]["components.relabel.relabelled"].item() == 2 * 8


@pytest.mark.parametrize("bucket_mib, calls", [(32, 2), (20 / 2**20, 4)])
def test_what_is_exchanged(bucket_mib, calls):
    for result in together(exchange_of_parts, bucket_mib):
        everywhere, once, half, never = result["gradients"]
        assert torch.equal(everywhere, torch.full((5, 3), 1.5))
        assert torch.equal(once, torch.arange(4.0) / 2)  # zero where it was missing
        assert torch.equal(half, torch.ones(7).bfloat16())
        assert never is None
        assert result["flags"].tolist() == [0.0, 0.5]
        assert result["norm"]["running_mean"].tolist() == [0.5, 0.5]
        assert result["norm"]["num_batches_tracked"].item() == 10_000_003
        assert result["calls"] == calls


@pytest.mark.parametrize(
    "component, term, where",
    [
        (dict(late=dict(type="LossInOneProcess")), "alone.loss", [False, True]),
        (dict(subdomains=dict(type="DynamicSubdomains", target_weight=1.0)), "target.", [True] * 2),
    ],
)
def test_further_losses(component, term, where):
    """Those of one process only, too."""
    options = dict(hrda=False, **component)
    found = together(train, 2, options)
    assert [any(term in n for n in result["logs"][1]) for result in found] == where
    state = found[0]["states"][1]
    each = [alone(state, rank, [1], options) for rank in range(2)]
    assert difference(found[0]["gradients"][1], mean(*each)) < 1e-5
    without = alone(state, 1, [1], dict(hrda=False))
    assert difference(each[1], without) > 0.01


def test_accumulation_exchanges_at_the_update_only():
    wrapper = dict(accumulative_counts=2)
    options = dict(hrda=False)
    found = together(train, 4, options, wrapper)
    assert found[0]["reductions"] == [0, 1, 0, 1]
    assert same(found[0]["states"][4], found[1]["states"][4])
    each = [alone(found[0]["states"][0], rank, [0, 1], options, wrapper) for rank in range(2)]
    assert difference(found[0]["gradients"][0], mean(*each)) < 1e-5


def test_clipping_is_of_the_mean_gradient():
    wrapper = dict(clip_grad=dict(max_norm=0.01))
    found = together(train, 1, dict(hrda=False), wrapper)
    assert flat(found[0]["gradients"][0]).norm().item() == pytest.approx(0.01, rel=1e-3)
    assert same(found[0]["states"][1], found[1]["states"][1])
