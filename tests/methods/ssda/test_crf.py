"""The truncated CRF loss: values by hand, equivalence with the double sum, gradients, gates."""

import math

import pytest
import torch

from mmseg_uda.methods.ssda import Kernel, crf_energy, pool_gate, truncated_crf_loss

SIDE = math.exp(-1 / 18)  # a direct neighbour at σ_xy = 3
DIAGONAL = math.exp(-2 / 18)


def position_only(sigma=3.0, weight=1.0):
    return (Kernel({"xy": sigma}, weight),)


def maps(batch, classes, height, width, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, height, width, generator=generator, dtype=dtype)
    image = torch.rand(batch, 3, height, width, generator=generator, dtype=dtype) * 0.3
    seeds = torch.rand(batch, height, width, generator=generator) > 0.5
    return logits, image, seeds


def double_sum(
    probability, image, source, destination, radius, sigma_xy=3.0, sigma_rgb=0.1, detach=False
):
    """The definition: every pixel with every pixel, the window as a mask."""
    height, width = probability.shape[-2:]
    grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    offset = grid.flatten(1)[:, :, None] - grid.flatten(1)[:, None, :]
    inside = (offset.abs() <= radius).all(0) & (offset != 0).any(0)
    colour = image.flatten(2)
    colour = (colour[..., :, None] - colour[..., None, :]).square().sum(1)
    k = torch.exp(-offset.square().sum(0) / (2 * sigma_xy**2) - colour / (2 * sigma_rgb**2))
    p = probability.flatten(2)
    sources = p.detach() if detach else p
    energy = k * inside * (1 - p.transpose(1, 2) @ sources)
    gated = destination.flatten(1)[:, :, None] * source.flatten(1)[:, None, :] * energy
    return gated.sum() / destination.sum().clamp(min=1)


def test_two_pixels():
    p = torch.tensor([[1.0, 0.5], [0.0, 0.5]]).view(1, 2, 1, 2).requires_grad_()
    source, destination = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    loss = truncated_crf_loss(p, {}, source, destination, kernels=position_only(), radius=1)
    (grad,) = torch.autograd.grad(loss, p)
    assert loss.item() == pytest.approx(0.4729797, abs=1e-6)
    assert grad[0, :, 0, 0].tolist() == pytest.approx([-0.4729797, -0.4729797], abs=1e-6)
    assert grad[0, :, 0, 1].tolist() == pytest.approx([-0.9459595, 0.0], abs=1e-6)


def test_three_pixels_with_colour():
    p = torch.tensor([[0.9, 0.6, 0.2], [0.1, 0.4, 0.8]]).view(1, 2, 1, 3).requires_grad_()
    image = torch.tensor([0.0, 0.1, 0.1]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    seeds = torch.tensor([[[1.0, 0.0, 1.0]]])
    loss = truncated_crf_loss(p, {"rgb": image}, seeds, 1 - seeds, radius=2)
    (grad,) = torch.autograd.grad(loss, p)
    assert loss.item() == pytest.approx(0.6183876, abs=1e-6)
    first = [-0.1266433, -0.3791568, -0.5675757]
    second = [-0.0844288, -0.7778748, -0.3783838]
    assert grad[0, 0, 0].tolist() == pytest.approx(first, abs=1e-6)
    assert grad[0, 1, 0].tolist() == pytest.approx(second, abs=1e-6)


def four_pixels():
    first = torch.tensor([[1.0, 0.5], [0.25, 0.8]])
    return torch.stack([first, 1 - first])[None].requires_grad_()


def test_four_pixels():
    p = four_pixels()
    seeds = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    image = torch.full((1, 3, 2, 2), 0.4)
    loss = truncated_crf_loss(p, {"rgb": image}, seeds, 1 - seeds, radius=1)
    (grad,) = torch.autograd.grad(loss, p)
    assert loss.item() == pytest.approx(0.9044184, abs=1e-6)
    expected = [-0.4761807, -0.4902387, -0.6966896, -0.6839095]
    assert grad[0, 0].flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("given", ["ones", "none"])
def test_without_gates_everybody_talks_to_everybody(given):
    gate = torch.ones(1, 2, 2) if given == "ones" else None
    loss = truncated_crf_loss(four_pixels(), {}, gate, gate, kernels=position_only(), radius=1)
    assert loss.item() == pytest.approx(1.4483451, abs=1e-6)  # D = 4


def test_divisor_when_one_gate_is_given():
    p = four_pixels().detach()
    gate = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    everyone = torch.ones_like(gate)
    options = dict(kernels=position_only(), radius=1)
    both = truncated_crf_loss(p, {}, gate, everyone, **options) * 4
    assert truncated_crf_loss(p, {}, source=gate, **options).item() * 3 == pytest.approx(
        both.item(), rel=1e-6
    )
    both = truncated_crf_loss(p, {}, everyone, gate, **options)
    alone = truncated_crf_loss(p, {}, destination=gate, **options)
    assert alone.item() == pytest.approx(both.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("shape", "radius"),
    [((2, 3, 5, 7), 2), ((1, 4, 3, 6), 5), ((1, 2, 6, 2), 3), ((2, 2, 1, 4), 5)],
)
@pytest.mark.parametrize("detach", [False, True])
def test_equals_the_double_sum(shape, radius, detach):
    logits, image, seeds = maps(*shape)
    logits.requires_grad_()
    source, destination = seeds.float(), (~seeds).float()
    loss = truncated_crf_loss(
        logits.softmax(1), {"rgb": image}, seeds, ~seeds, radius=radius, detach_source=detach
    )
    (grad,) = torch.autograd.grad(loss, logits)
    expected = double_sum(logits.softmax(1), image, source, destination, radius, detach=detach)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    (expected_grad,) = torch.autograd.grad(expected, logits)
    assert torch.allclose(grad, expected_grad, atol=1e-6)


@pytest.mark.parametrize(
    "dtype",
    [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64],
)
def test_gates_of_every_type(dtype):
    logits, image, seeds = maps(2, 3, 5, 7)
    p = logits.softmax(1)
    for gates in ((seeds, ~seeds), (seeds, None), (None, ~seeds)):
        given = [None if gate is None else gate.to(dtype) for gate in gates]
        found = truncated_crf_loss(p, {"rgb": image}, *given)
        assert found.dtype == torch.float32
        assert found.item() == truncated_crf_loss(p, {"rgb": image}, *gates).item() > 0
        assert crf_energy(p, {"rgb": image}, *given).dtype == torch.float32


def test_maps_of_other_types_and_memory_order():
    logits, image, seeds = maps(2, 3, 5, 7)
    p = logits.softmax(1)
    expected = truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds)
    last = p.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    found = truncated_crf_loss(last, {"rgb": image.double()}, seeds, ~seeds)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(expected.item(), rel=1e-6)
    bytes_ = (image * 255).to(torch.uint8)
    kernels = (Kernel({"rgb": 30.0}),)
    found = truncated_crf_loss(p, {"rgb": bytes_}, kernels=kernels)
    exact = truncated_crf_loss(p, {"rgb": bytes_.float()}, kernels=kernels)
    assert found.item() == exact.item()


@pytest.mark.parametrize("gates", [True, False])
def test_gradcheck(gates):
    logits, image, seeds = maps(2, 3, 5, 6, dtype=torch.float64)
    depth = torch.rand(2, 1, 5, 6, dtype=torch.float64)
    kernels = (Kernel({"xy": 3.0, "rgb": 0.1}), Kernel({"xy": 1.0, "depth": 0.3}, weight=0.5))

    def loss(p):
        gate = (seeds, ~seeds) if gates else (None, None)
        return truncated_crf_loss(
            p, {"rgb": image, "depth": depth}, *gate, kernels=kernels, radius=3
        )

    assert torch.autograd.gradcheck(loss, logits.softmax(1).requires_grad_())


def test_second_derivative_is_refused():
    logits, image, seeds = maps(1, 2, 4, 4)
    p = logits.softmax(1).requires_grad_()
    loss = truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds)
    (grad,) = torch.autograd.grad(loss.square(), p, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_agreement_costs_exactly_nothing():
    _, image, seeds = maps(2, 3, 9, 8)
    p = torch.zeros(2, 3, 9, 8)
    p[:, 1] = 1
    assert truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds).item() == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_never_negative(seed):
    logits, image, seeds = maps(2, 5, 8, 9, seed)
    assert truncated_crf_loss((9 * logits).softmax(1), {"rgb": image}, seeds, ~seeds) >= 0


def test_depends_on_colour_differences_only_and_is_linear_in_the_weight():
    logits, image, seeds = maps(2, 4, 7, 6)
    p = logits.softmax(1)
    loss = truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds)
    shifted = truncated_crf_loss(p, {"rgb": image + 0.5}, seeds, ~seeds)
    assert shifted.item() == pytest.approx(loss.item(), rel=1e-5)
    heavy = (Kernel(weight=2.5),)
    weighted = truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds, kernels=heavy)
    assert weighted.item() == pytest.approx(2.5 * loss.item(), rel=1e-6)


def test_kernels_add_up():
    logits, image, seeds = maps(1, 3, 6, 6)
    p, gates = logits.softmax(1), (seeds, ~seeds)
    kernels = (Kernel(), Kernel({"xy": 1.5}, weight=0.3))
    together = truncated_crf_loss(p, {"rgb": image}, *gates, kernels=kernels)
    apart = sum(truncated_crf_loss(p, {"rgb": image}, *gates, kernels=(k,)) for k in kernels)
    assert together.item() == pytest.approx(apart.item(), rel=1e-6)


def test_no_destination_gives_exactly_zero():
    logits, image, _ = maps(1, 3, 5, 5)
    p = logits.softmax(1).requires_grad_()
    everything = torch.ones(1, 5, 5, dtype=torch.bool)
    loss = truncated_crf_loss(p, {"rgb": image}, everything, ~everything)
    (grad,) = torch.autograd.grad(loss, p)
    assert loss.item() == 0.0
    assert torch.equal(grad, torch.zeros_like(grad))


def test_a_single_pixel_has_no_neighbour():
    p = torch.tensor([0.3, 0.7]).view(1, 2, 1, 1)
    assert truncated_crf_loss(p, {"rgb": torch.rand(1, 3, 1, 1)}, radius=1).item() == 0.0


@pytest.mark.parametrize(
    ("sigma", "radius", "mass"), [(3, 5, 48.3841), (6, 5, 92.0086), (3, 1, 7.3632)]
)
def test_mass_of_the_window(sigma, radius, mass):
    """Opposite neighbours of one destination: the energy is the kernel's mass."""
    p = torch.zeros(1, 2, 11, 11)
    p[:, 0] = 1
    p[..., 5, 5] = torch.tensor([0.0, 1.0])
    destination = torch.zeros(1, 11, 11)
    destination[0, 5, 5] = 1
    loss = truncated_crf_loss(
        p, {}, 1 - destination, destination, kernels=position_only(sigma), radius=radius
    )
    assert loss.item() == pytest.approx(mass, abs=1e-4)


@pytest.mark.parametrize(
    ("step", "sigma", "factor", "tolerance"),
    [
        (1 / 255, 0.1, 0.9977, 5e-5),
        (1 / 255, 0.005, 0.3974, 5e-5),
        # one grey level of images normalised with ImageNet's deviations
        ((1 / 58.395, 1 / 57.12, 1 / 57.375), 0.005, 1.42e-8, 5e-11),
    ],
)
def test_one_grey_level_in_units_of_the_kernel(step, sigma, factor, tolerance):
    image = torch.zeros(1, 3, 1, 2, dtype=torch.float64)
    image[0, :, 0, 1] = torch.tensor(step, dtype=torch.float64)
    p = torch.eye(2, dtype=torch.float64).view(1, 2, 1, 2)
    source, destination = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    colour = (Kernel({"rgb": sigma}),)
    loss = truncated_crf_loss(p, {"rgb": image}, source, destination, kernels=colour)
    assert loss.item() == pytest.approx(factor, abs=tolerance)


def test_inputs_stay_as_they_are_and_get_no_gradient():
    logits, image, seeds = maps(1, 3, 6, 7)
    image.requires_grad_()
    source, destination = seeds.float().requires_grad_(), (~seeds).float().requires_grad_()
    kept = [x.detach().clone() for x in (logits, image, source, destination)]
    p = logits.softmax(1).requires_grad_()
    truncated_crf_loss(p, {"rgb": image}, source, destination).backward()
    assert image.grad is None and source.grad is None and destination.grad is None
    for before, after in zip(kept, (logits, image, source, destination), strict=True):
        assert torch.equal(before, after.detach())


def test_detached_sources_get_no_gradient():
    logits, image, seeds = maps(2, 3, 6, 7)
    p = logits.softmax(1).requires_grad_()
    loss = truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds, detach_source=True)
    same = truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds)
    assert loss.item() == pytest.approx(same.item(), rel=1e-6)
    (grad,) = torch.autograd.grad(loss, p)
    at_seeds = grad.permute(0, 2, 3, 1)[seeds]
    assert torch.equal(at_seeds, torch.zeros_like(at_seeds))
    assert grad.abs().sum() > 0


def test_energy_by_pixel_sums_up_to_the_loss():
    logits, image, seeds = maps(2, 3, 6, 7)
    p = logits.softmax(1)
    energy = crf_energy(p, {"rgb": image}, seeds, ~seeds)
    loss = truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds)
    assert energy.shape == seeds.shape
    assert torch.equal(energy[seeds], torch.zeros_like(energy[seeds]))
    assert energy.sum().item() / (~seeds).sum().item() == pytest.approx(loss.item(), rel=1e-5)


def test_gates_of_larger_resolution():
    seeds = torch.tensor([[[1, 1, 1, 1], [1, 1, 1, 0]]])
    assert pool_gate(seeds, (1, 2)).tolist() == [[[1, 0]]]
    assert pool_gate(1 - seeds, (1, 2)).tolist() == [[[0, 0]]]
    assert pool_gate(seeds, (1, 2), "half_block").tolist() == [[[1, 1]]]
    assert pool_gate(1 - seeds, (1, 2), "half_block").tolist() == [[[0, 0]]]
    assert pool_gate(seeds, (1, 2), "nearest").tolist() == [[[1, 1]]]  # its upper left pixel
    assert pool_gate(seeds[:, None], (1, 2)).tolist() == [[[1, 0]]]
    broken = torch.tensor([[[float("nan"), 1.0, 1.0, 1.0]]])
    for rule in ("full_block", "half_block", "nearest"):
        assert pool_gate(broken, (1, 4), rule).tolist() == [[[0, 1, 1, 1]]]
        assert pool_gate(broken, (1, 2), rule).tolist() == [[[0, 1]]]


def test_a_share_of_a_pixel_is_no_seed():
    """The rule holds at the loss' resolution, too."""
    gate = torch.tensor([[[0.4, 0.5, 0.99, 1.0]]])
    assert pool_gate(gate, (1, 4)).tolist() == [[[0, 0, 0, 1]]]
    assert pool_gate(gate, (1, 4), "half_block").tolist() == [[[0, 1, 1, 1]]]
    assert pool_gate(gate, (1, 4), "nearest").tolist() == [[[0, 0, 0, 1]]]


def test_larger_maps_are_averaged_over_blocks():
    logits, _, _ = maps(1, 3, 4, 5)
    p = logits.softmax(1)
    image = torch.rand(1, 3, 8, 15)
    seeds = (torch.rand(1, 4, 5) > 0.5).repeat_interleave(2, 1).repeat_interleave(3, 2)
    small = torch.nn.functional.adaptive_avg_pool2d(image, (4, 5))
    coarse = seeds[:, ::2, ::3]
    one = truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds)
    other = truncated_crf_loss(p, {"rgb": small}, coarse, ~coarse)
    assert one.item() == pytest.approx(other.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(radius=0), "radius"),
        (dict(kernels=(Kernel({"depth": 1.0}),)), "depth"),
        (dict(kernels=(Kernel({"xy": 0.0}),)), "sigma"),
        (dict(gate_rule="half"), "gate rule"),
        (dict(source=torch.ones(1, 2, 4)), "smaller"),
        (dict(source=torch.ones(2, 4, 4)), "source has 2 images, the probabilities 1"),
        (dict(destination=torch.ones(4, 4)), "destination has 4 images"),
        (dict(modalities={"rgb": torch.zeros(2, 3, 4, 4)}), "rgb has 2 images"),
        (dict(kernels=()), "no kernel"),
    ],
)
def test_impossible_arguments_are_named(change, message):
    p = torch.full((1, 2, 4, 4), 0.5)
    arguments = dict(modalities={"rgb": torch.zeros(1, 3, 4, 4)}, source=torch.ones(1, 4, 4))
    with pytest.raises(ValueError, match=message):
        truncated_crf_loss(p, **{**arguments, **change})
