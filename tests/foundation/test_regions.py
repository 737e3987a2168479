from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import MaskSet, ToyScorer
from mmseg_uda.foundation.base import CLIP_MEAN, CLIP_STD
from mmseg_uda.foundation.crops import crop_boxes, normalise
from mmseg_uda.foundation.masks.rle import mask_to_runs
from mmseg_uda.foundation.regions import (
    context_boxes,
    mask_patches,
    region_features,
    unique_boxes,
)


class CountingScorer(ToyScorer):
    """Remembers the inputs of the image tower."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []

    def encode_image(self, pixels):
        self.seen.append(pixels)
        return super().encode_image(pixels)


def scene(height=60, width=80):
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + k) * np.cos(y / 7 - k) for k in range(3)]
    return (127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def some_regions(height=60, width=80):
    y, x = np.mgrid[:height, :width]
    dense = [(x - a) ** 2 + (y - b) ** 2 < r * r for a, b, r in ((20, 20, 9), (60, 40, 15))]
    return MaskSet.from_masks([*dense, x < 30, (y > 50) & (x > 70)], (height, width))


# x1, y1, x2, y2 of the box (100, 50, 30, 20), padding 120, 1920 × 1440.
FIRST = [
    (80, 30, 150, 90),
    (0, 0, 250, 190),
    (80, 30, 250, 190),
    (0, 0, 150, 90),
    (0, 30, 150, 190),
    (80, 0, 250, 90),
]
SECOND = [
    (80, 30, 150, 90),
    (0, 0, 450, 390),
    (80, 30, 450, 390),
    (0, 0, 150, 90),
    (0, 30, 150, 390),
    (80, 0, 450, 90),
]


def test_boxes_at_the_border_are_the_published_ones():
    boxes = context_boxes(np.array([[100, 50, 130, 70]]), np.array([120]), (1440, 1920))
    assert boxes.tolist() == [[[list(b) for b in FIRST], [list(b) for b in SECOND]]]
    assert len(unique_boxes(boxes)[0]) == 10


def test_of_twelve_boxes_inside_the_image_eleven_differ():
    boxes = context_boxes(np.array([[900, 700, 930, 720]]), np.array([120]), (1440, 1920))
    found, place = unique_boxes(boxes)
    assert len(found) == 11
    np.testing.assert_array_equal(found[place], boxes)


def test_mask_edges_are_soft_and_the_outside_is_black():
    # the box is wider than the region here.
    masks = MaskSet.from_masks([np.array([[1, 0], [1, 0]], bool)], (2, 2))
    masks = replace(masks, box=np.array([[0, 0, 1, 1]], np.int32))
    (patch,) = mask_patches(masks, [0], 4)
    assert patch.tolist() == [[1, 0.75, 0.25, 0]] * 4
    assert (200 * patch[0]).tolist() == [200, 150, 50, 0]
    black = normalise(torch.zeros(1, 3, 1, 1), CLIP_MEAN, CLIP_STD).flatten().tolist()
    assert black == pytest.approx((-1.7923, -1.7521, -1.4802), abs=1e-4)


@pytest.mark.parametrize("crops", ["exact", "fast"])
def test_the_inputs_of_a_region_are_the_published_ones(crops):
    # a constant crop of 200 below the soft edge of the region.
    masks = MaskSet.from_masks([np.array([[1, 0], [1, 0]], bool)], (2, 2))
    masks = replace(masks, box=np.array([[0, 0, 1, 1]], np.int32))
    image = np.full((2, 2, 3), 200, np.uint8)
    for blacken, row in ((True, [200, 150, 50, 0]), (False, [200] * 4)):
        scorer = CountingScorer(input_size=4)
        region_features(scorer, image, masks, np.array([10]), crops, blacken=blacken)
        context, alone = (torch.cat(scorer.seen)[[0, -1]] * 0.5 + 0.5) * 255
        torch.testing.assert_close(context, torch.full((3, 4, 4), 200.0))
        torch.testing.assert_close(alone, torch.tensor(row).float().expand(3, 4, 4))


def test_boxes_of_regions_that_fill_the_image_and_of_none():
    whole = context_boxes(np.array([[0, 0, 6, 4]]), np.array([120]), (5, 7))
    assert (whole == [0, 0, 6, 4]).all()
    assert whole.shape == (1, 2, 6, 4)
    none = context_boxes(np.zeros((0, 4), np.int32), np.zeros(0, np.int64), (5, 7), scales=(0,))
    assert none.shape == (0, 1, 6, 4)
    found, place = unique_boxes(none)
    assert found.shape == (0, 4)
    assert place.shape == (0, 1, 6)


def test_a_crop_includes_the_last_row_and_column():
    # A region of 31 × 21 pixels has an inclusive box of 30 × 20.
    mask = np.zeros((100, 160), bool)
    mask[50:71, 100:131] = True
    masks = MaskSet.from_masks([mask], (100, 160))
    assert masks.box.tolist() == [[100, 50, 130, 70]]
    assert masks.decode(0).shape == (21, 31)


@pytest.mark.parametrize("resample", ["opencv", "opencv8", "linear"])
def test_linear_crops_are_opencvs(resample):
    image = scene()
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    boxes = torch.tensor([[0, 0, 80, 60], [10, 5, 13, 50], [70, 59, 80, 60], [4, 4, 5, 5]])
    ours = crop_boxes(tensor, boxes, torch.zeros(4).long(), 16, "stretch", resample) * 255
    for crop, (x0, y0, x1, y1) in zip(ours, boxes.tolist(), strict=True):
        source = image[y0:y1, x0:x1]
        source = source if resample == "opencv8" else source.astype(np.float32)
        expected = cv2.resize(source, (16, 16), interpolation=cv2.INTER_LINEAR)
        difference = np.abs(crop.permute(1, 2, 0).numpy() - expected).max()
        assert difference < (0.01 if resample == "linear" else 1e-4)


def test_linear_crops_keep_no_proportions():
    with pytest.raises(UserError, match="stretch"):
        crop_boxes(torch.zeros(1, 3, 4, 4), torch.tensor([[0, 0, 2, 2]]), torch.zeros(1).long(),
                   8, "center", "linear")  # fmt: skip


def test_features_are_the_formulas():
    image, masks = scene(), some_regions()
    padding = np.array([10, 4, 7, 10])
    scorer = ToyScorer(input_size=16)
    found = region_features(scorer, image, masks, padding, minor=3, scales=(0, 12))
    height, width = masks.size

    def encode(crop):
        pixels = torch.from_numpy(crop).permute(2, 0, 1)[None] / 255
        feature = scorer.encode_image((pixels - 0.5) / 0.5)[0]
        return feature / feature.norm()

    for m in range(len(masks)):
        x1, y1, x2, y2 = masks.box[m].tolist()
        for s, extra in enumerate((0, 12)):
            o, p = 3, int(padding[m]) + extra
            sides = [(o, o, o, o), (p, p, p, p), (o, o, p, p), (p, p, o, o), (p, o, o, p), (o, p, p, o)]  # fmt: skip  # noqa: E501
            features = []
            for left, top, right, bottom in sides:
                rows = slice(max(y1 - top, 0), min(y2 + bottom, height - 1) + 1)
                columns = slice(max(x1 - left, 0), min(x2 + right, width - 1) + 1)
                crop = image[rows, columns].astype(np.float32)
                features.append(encode(cv2.resize(crop, (16, 16))))
            torch.testing.assert_close(
                found.context[m, s], torch.stack(features).mean(0), atol=1e-5, rtol=1e-5
            )
        crop = cv2.resize(image[y1 : y2 + 1, x1 : x2 + 1], (16, 16)).astype(np.float32)
        patch = cv2.resize(masks.decode(m).astype(np.float32), (16, 16))
        torch.testing.assert_close(
            found.masked[m], encode(crop * patch[..., None]), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("crops", ["exact", "fast"])
@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_do_not_change_features(crops, chunk):
    image, masks, padding = scene(), some_regions(), np.full(4, 10)
    whole = region_features(ToyScorer(), image, masks, padding, crops)
    parts = region_features(ToyScorer(chunk=chunk), image, masks, padding, crops)
    torch.testing.assert_close(parts.masked, whole.masked, atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.context, whole.context, atol=1e-5, rtol=0)
    assert parts.crops == whole.crops and parts.calls == -(-parts.crops // chunk)


def test_fast_inputs_are_within_two_levels_of_exact_ones():
    image, masks, padding = scene(), some_regions(), np.full(4, 10)
    inputs = {}
    for crops in ("exact", "fast"):
        scorer = CountingScorer(input_size=24)
        region_features(scorer, image, masks, padding, crops)
        inputs[crops] = torch.cat(scorer.seen)
    # The scorer's standard deviation is 1/2.
    assert (inputs["fast"] - inputs["exact"]).abs().max() <= 2 * 2 / 255


def test_calls_for_three_hundred_regions():
    # 11 context crops and one masked crop of each.
    size, runs = (1440, 1920), []
    for k in range(300):
        corner = (400 + 37 * (k % 30), 400 + 47 * (k // 30))
        runs.append(mask_to_runs(np.ones((9, 11), bool), corner, size[0]))
    masks = MaskSet.from_runs(runs, size)
    scorer = CountingScorer(input_size=2)
    image = np.zeros((*size, 3), np.uint8)
    found = region_features(scorer, image, masks, np.full(300, 120), "exact")
    assert sum(len(pixels) for pixels in scorer.seen) == found.crops == 3600
    assert len(scorer.seen) == found.calls == 29


def test_without_regions_nothing_is_encoded():
    scorer = CountingScorer()
    found = region_features(scorer, scene(), MaskSet.from_masks([], (60, 80)), np.zeros(0, int))
    assert found.masked.shape == (0, 32) and found.context.shape == (0, 2, 32)
    assert found.crops == found.calls == 0 and scorer.seen == []


def test_planted_colours_are_found():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = (0, 255, 0)
    image[:, :4] = (255, 0, 0)
    scorer = ToyScorer(table={"tomato": (255, 0, 0), "grass": (0, 255, 0)})
    text = scorer.text_features(("tomato", "grass"), torch.device("cpu"))
    masks = MaskSet.from_label_map((image[..., 1] > 0).astype(int))
    similarity = region_features(scorer, image, masks, np.zeros(2, int)).masked @ text.t()
    torch.testing.assert_close(similarity.diag(), torch.ones(2))
    assert similarity.argmax(1).tolist() == [0, 1]


def test_unknown_crops_are_refused():
    with pytest.raises(UserError, match="quick"):
        region_features(ToyScorer(), scene(), some_regions(), np.full(4, 10), "quick")
