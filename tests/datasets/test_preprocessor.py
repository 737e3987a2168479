from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_uda.datasets  # noqa: F401

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.fixture
def preprocessor():
    cfg = {"type": "DomainDataPreProcessor", "mean": MEAN, "std": STD, "bgr_to_rgb": True}
    return MODELS.build({**cfg, "size": (4, 6)})


def domain(height=3, width=5, **fields):
    sample = SegDataSample()
    for name, data in fields.items():
        sample.set_data({name: PixelData(data=data)})
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1).expand(3, height, width)
    return {"inputs": [image.clone()], "data_samples": [sample]}


def test_images_become_normalised_rgb(preprocessor):
    image = preprocessor(domain(), True)["inputs"]
    assert image.dtype == torch.float32
    expected = [(value - m) / s for value, m, s in zip((30, 20, 10), MEAN, STD, strict=True)]
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor(expected))


def test_padding_after_normalisation(preprocessor):
    batch = preprocessor(
        domain(
            gt_sem_seg=torch.zeros(1, 3, 5, dtype=torch.uint8),
            valid_mask=torch.ones(1, 3, 5, dtype=torch.uint8),
            depth=torch.ones(1, 3, 5),
            diagnosis_label=torch.zeros(1, 3, 5, dtype=torch.uint8),
        ),
        True,
    )
    sample = batch["data_samples"][0]
    assert batch["inputs"].shape == (1, 3, 4, 6)
    assert (batch["inputs"][..., 3, :] == 0).all()
    assert (batch["inputs"][..., 5] == 0).all()
    padded = torch.ones(4, 6, dtype=torch.bool)
    padded[:3, :5] = False
    assert sample.gt_sem_seg.data.dtype == torch.int64
    assert torch.equal(sample.gt_sem_seg.data[0], padded.long() * 255)
    assert torch.equal(sample.valid_mask.data[0], (~padded).to(torch.uint8))
    assert torch.equal(sample.depth.data[0], (~padded).float())
    assert torch.equal(sample.diagnosis_label.data[0], padded.to(torch.uint8) * 255)
    assert sample.img_shape == (3, 5)
    assert sample.pad_shape == (4, 6)


def test_every_domain_is_treated(preprocessor):
    batch = preprocessor({"source": domain(), "target": domain(2, 2)}, True)
    assert batch["source"]["inputs"].shape == batch["target"]["inputs"].shape == (1, 3, 4, 6)


def test_larger_images_are_not_cut(preprocessor):
    assert preprocessor(domain(8, 9), True)["inputs"].shape == (1, 3, 8, 9)


def test_the_given_batch_is_not_changed(preprocessor):
    data = domain(gt_sem_seg=torch.zeros(1, 3, 5, dtype=torch.uint8))
    label = data["data_samples"][0].gt_sem_seg.data
    preprocessor(data, True)
    assert label.shape == (1, 3, 5)
    assert label.dtype == torch.uint8


def test_testing_pads_nothing(preprocessor):
    data = domain(gt_sem_seg=torch.zeros(1, 9, 9, dtype=torch.uint8))
    batch = preprocessor(data, False)
    assert batch["inputs"].shape == (1, 3, 3, 5)
    assert batch["data_samples"][0].gt_sem_seg.data.shape == (1, 9, 9)
