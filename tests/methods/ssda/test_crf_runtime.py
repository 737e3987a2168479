"""The truncated CRF loss under mixed precision and compilation, and what it takes."""

import pytest
import torch
from operations import Operations

from mmseg_uda.methods.ssda import truncated_crf_loss


def maps(batch, classes, height, width, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, height, width, generator=generator, dtype=dtype)
    image = torch.rand(batch, 3, height, width, generator=generator, dtype=dtype) * 0.3
    seeds = torch.rand(batch, height, width, generator=generator) > 0.5
    return logits, image, seeds


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, image, seeds = maps(2, 4, 8, 8)
    p = logits.softmax(1).to(dtype).requires_grad_()
    exact = p.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds)
    expected = truncated_crf_loss(exact, {"rgb": image}, seeds, ~seeds)
    assert loss.dtype == torch.float32 and loss.item() == expected.item()
    loss.backward()
    expected.backward()
    assert torch.equal(p.grad, exact.grad.to(dtype))


def test_more_pixels_than_float16_counts():
    p = torch.full((1, 2, 256, 257), 0.5, dtype=torch.float16)  # 65792 > 65504
    loss = truncated_crf_loss(p, {"rgb": torch.zeros(1, 3, 256, 257)}, radius=1)
    exact = truncated_crf_loss(p.float(), {"rgb": torch.zeros(1, 3, 256, 257)}, radius=1)
    assert loss.item() == exact.item() > 0


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_without_a_break(backend):
    logits, image, seeds = maps(2, 3, 7, 8)
    logits.requires_grad_()

    def loss(z, rgb, gate):
        return truncated_crf_loss(z.softmax(1), {"rgb": rgb}, gate, ~gate, radius=1)

    torch._dynamo.reset()
    compiled = torch.compile(loss, backend=backend, fullgraph=True)
    value = compiled(logits, image, seeds)
    (grad,) = torch.autograd.grad(value, logits)
    plain = loss(logits, image, seeds)
    (expected,) = torch.autograd.grad(plain, logits)
    assert value.item() == pytest.approx(plain.item(), rel=1e-6)
    assert torch.allclose(grad, expected, atol=1e-7)


def test_nothing_larger_than_the_probabilities_is_made():
    logits, image, seeds = maps(2, 19, 12, 16)
    p = logits.softmax(1).requires_grad_()
    with Operations() as operations:
        truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds).backward()
    assert max(size for _, size in operations.sizes) == p.numel() * 4
    large = [name for name, size in operations.sizes if size == p.numel() * 4]
    made = [name for name in large if "addcmul" not in str(name)]  # those sum up in place
    assert len(made) <= 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_on_a_gpu():
    p = torch.rand(2, 19, 256, 256, device="cuda").requires_grad_()
    image = torch.rand(2, 3, 256, 256, device="cuda")
    seeds = torch.rand(2, 256, 256, device="cuda") > 0.5
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    truncated_crf_loss(p, {"rgb": image}, seeds, ~seeds).backward()
    torch.cuda.synchronize()
    extra = torch.cuda.max_memory_allocated() - before
    assert extra < 8 * p.numel() * 4
