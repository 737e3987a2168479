"""Agreement with the published implementation on pinned weights and inputs."""

import numpy as np
import pytest
import torch
from pinned_weights import GOLDEN, build_reference

from mmseg_uda.models.views import full_logits


@pytest.fixture(scope="module")
def image():
    values = np.random.RandomState(7).standard_normal((1, 3, 128, 256))
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "daformer.npz")


@torch.no_grad()
def test_daformer_last_encoder_stage(image, golden):
    features = build_reference("daformer").extract_feat(image)[-1]
    assert np.abs(features.numpy() - golden["feat_last"]).max() < 8e-6


@torch.no_grad()
def test_daformer_logits_and_probabilities(image, golden):
    logits = full_logits(build_reference("daformer"), image)
    probabilities = logits.softmax(dim=1)
    assert np.abs(logits[:, :, ::4, ::4].numpy() - golden["logits"]).max() < 5e-6
    assert np.abs(probabilities[:, :, ::4, ::4].numpy() - golden["prob"]).max() < 1e-6
