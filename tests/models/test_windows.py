import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models.segmentors import EncoderDecoder
from small import segmentor

from mmseg_uda.errors import UserError
from mmseg_uda.models.segmentors.windows import (
    merge_windows,
    run_in_chunks,
    sliding_boxes,
    window_starts,
)


@pytest.mark.parametrize(
    ("length", "window", "stride", "starts"),
    [
        (1024, 1024, 512, [0]),
        (2048, 1024, 512, [0, 512, 1024]),
        (1080, 1024, 512, [0, 56]),
        (1920, 1024, 512, [0, 512, 896]),
        (1024, 512, 256, [0, 256, 512]),
        (1024, 512, 512, [0, 512]),
        (300, 512, 256, [0]),
    ],
)
def test_window_starts(length, window, stride, starts):
    assert window_starts(length, window, stride) == starts


@pytest.mark.parametrize(("stride", "boxes"), [(256, 9), (512, 4)])
def test_detail_boxes_of_a_context_crop(stride, boxes):
    assert len(sliding_boxes((1024, 1024), (512, 512), (stride, stride))) == boxes


@pytest.mark.parametrize("size", [(40, 72), (33, 50), (16, 100)])
def test_windows_cover_every_pixel_and_average(size):
    boxes = sliding_boxes(size, (32, 32), (24, 16))
    image = torch.randn(2, 3, *size)
    windows = torch.cat([box.crop(image) for box in boxes])
    assert torch.allclose(merge_windows(windows, boxes, size), image, atol=1e-6)


def test_chunks_respect_the_budget():
    sizes = []
    run_in_chunks(lambda x: sizes.append(len(x)), torch.zeros(7, 1, 8, 8), 3 * 64 + 1)
    assert sizes == [3, 3, 1]


def slide(**options):
    return dict(mode="slide", crop_size=(64, 64), stride=(32, 32), **options)


@torch.no_grad()
def test_batched_chunked_and_sequential_windows_agree():
    model = segmentor()
    image = torch.randn(2, 3, 96, 112)
    results = []
    for options in (dict(), dict(batch_pixels=5 * 64 * 64), dict(batched_slide=False)):
        model.test_cfg = ConfigDict(slide(**options))
        results.append(model.slide_inference(image, [{}]))
    assert results[0].shape == (2, 5, 96, 112)
    for other in results[1:]:
        assert torch.allclose(results[0], other, atol=1e-5)


@torch.no_grad()
def test_windows_equal_mmseg():
    model = segmentor(test_cfg=ConfigDict(slide()))
    image = torch.randn(1, 3, 80, 96)
    metas = [dict(img_shape=(80, 96), ori_shape=(80, 96), pad_shape=(80, 96))]
    ours = model.slide_inference(image, metas)
    model.__class__ = EncoderDecoder
    assert torch.allclose(ours, model.slide_inference(image, metas), atol=1e-5)


@torch.no_grad()
def test_probabilities_of_windows_are_averaged():
    cfg = dict(mode="slide", crop_size=(32, 32), stride=(32, 16), average="probabilities")
    model, image = segmentor(test_cfg=cfg), torch.randn(1, 3, 32, 64)
    logits = model.slide_inference(image, [])
    boxes = sliding_boxes((32, 64), (32, 32), (32, 16))
    expected = merge_windows(
        torch.cat([model.encode_decode(box.crop(image), []).softmax(1) for box in boxes]),
        boxes,
        (32, 64),
    )
    assert torch.allclose(logits.softmax(1), expected, atol=1e-6)
    with pytest.raises(UserError, match="test_cfg.average='mean'"):
        segmentor(test_cfg=dict(mode="whole", average="mean"))
