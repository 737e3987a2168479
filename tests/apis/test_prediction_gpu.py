"""Prediction on a CUDA device."""

import numpy as np
import pytest
import torch

from mmseg_uda.apis import Augmentations, init_segmentor, predict

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("options", [{}, {"augmentations": Augmentations((0.75, 1.0))}])
def test_the_gpu_predicts_what_the_cpu_predicts(kind, trained, options):
    pictures = [np.random.default_rng(s).integers(0, 256, (60, 110, 3), np.uint8) for s in range(3)]
    cpu, gpu = (
        predict(
            init_segmentor(*trained(kind), device),
            pictures,
            batch_size=2,
            probabilities=True,
            **options,
        )
        for device in ("cpu", "cuda")
    )
    for a, b in zip(cpu, gpu, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=2e-2)
        assert np.mean(a.label == b.label) > 0.98


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision(kind, trained, amp):
    model = init_segmentor(*trained(kind), "cuda")
    image = np.random.default_rng(0).integers(0, 256, (96, 192, 3), np.uint8)
    exact = predict(model, image, logits=True)
    rounded = predict(model, image, amp=amp, logits=True)
    assert rounded.logits.dtype == np.float32
    assert not np.array_equal(exact.logits, rounded.logits)
    assert np.mean(exact.label == rounded.label) > 0.95
