"""Prediction, evaluation, alignment and the foundation models on a simulated GPU."""

import numpy as np
import pytest
import torch
import toy_alignment as toy
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from nano import nano_config, nano_hrda_config
from tiny_clip import write_clip, write_owl

from mmseg_uda.apis import Augmentations, align, init_segmentor, predict
from mmseg_uda.evaluation import StreamingIoU
from mmseg_uda.foundation import OwlDetector, TransformersClip
from mmseg_uda.self_training import SelfTraining

SLIDE = dict(mode="slide", crop_size=(32, 32), stride=(16, 16))
WAYS = {
    "whole": (nano_config, dict(mode="whole")),
    "slide": (nano_config, {**SLIDE, "batched_slide": False}),
    "batched slide": (nano_hrda_config, SLIDE),
}


@pytest.mark.parametrize(("make", "test_cfg"), WAYS.values(), ids=WAYS)
def test_validation_and_its_metric(make, test_cfg, simulated_gpu):
    cfg = ConfigDict(make(19, size=(64, 64)))
    cfg.test_cfg = ConfigDict(test_cfg)
    trainer = SelfTraining(cfg, taxonomy="cityscapes19").to("cuda").eval()
    meta = dict(img_shape=(48, 64), ori_shape=(48, 64), pad_shape=(48, 64), img_path="a.png")
    sample = SegDataSample(metainfo=meta)
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 48, 64, dtype=torch.int64))
    image = torch.zeros(3, 48, 64, dtype=torch.uint8)
    with torch.no_grad():
        (found,) = trainer.val_step(dict(inputs=[image], data_samples=[sample]))
    assert found.pred_sem_seg.data.shape == (1, 48, 64) and found.pred_sem_seg.data.is_cuda
    metric = StreamingIoU(taxonomy="cityscapes19")
    metric.process(None, [found.to_dict()])
    assert metric.confusion.shape[0] >= 19


@pytest.mark.parametrize("options", [dict(), dict(augmentations=Augmentations((0.75, 1.0)))])
def test_inference(options, kind, trained, simulated_gpu):
    segmentor = init_segmentor(*trained(kind), "cuda")
    picture = np.zeros((60, 110, 3), np.uint8)
    (found,) = predict(segmentor, [picture], probabilities=True, amp="bf16", **options)
    assert found.label.shape == (60, 110) and found.probabilities.shape == (19, 60, 110)


def test_alignment(tmp_path, simulated_gpu):
    simulated_gpu.truth = True  # "are all values finite?"
    image, taxonomy = toy.picture(*toy.COLORS.values()), toy.taxonomy(tmp_path)
    found = align(
        image,
        toy.halves(),
        taxonomy,
        proposer=dict(type="grid", cell=toy.CELL),
        scorer=dict(type="toy", table=toy.TABLE, input_size=8),
        device="cuda",
        channel_order="rgb",
        **toy.OPTIONS,
    )
    assert found.pred_sem_seg.data.shape[-2:] == (toy.SIZE, toy.SIZE)


def test_the_crop_classifier(tmp_path, simulated_gpu):
    clip = TransformersClip(str(write_clip(tmp_path)))
    corners = torch.tensor([[0, 0, 48, 30], [5, 7, 21, 40]])
    boxes = corners.to("cuda")
    simulated_gpu.answer = lambda shape: corners if shape == (2, 4) else torch.zeros(shape)
    index = torch.tensor([0, 1], device="cuda")
    images = torch.rand(2, 3, 48, 48, device="cuda")
    assert clip.classify(images, ["road", "car"], boxes, index).shape == (2, 2)
    assert clip.classify(images, ["road", "car"]).is_cuda


def test_the_detector(tmp_path, simulated_gpu):
    detector = OwlDetector(str(write_owl(tmp_path)))
    logits, boxes = detector.detect(torch.rand(2, 3, 48, 48, device="cuda"), ["truck", "train"])
    assert logits.shape == (2, 16, 2) and boxes.is_cuda
