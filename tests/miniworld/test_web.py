from __future__ import annotations

import numpy as np
import pytest
import torch

from mmseg_uda.miniworld.augment import augment
from mmseg_uda.miniworld.canvas import Ids
from mmseg_uda.miniworld.domains import DOMAINS, render
from mmseg_uda.miniworld.nano_weights import nano_backbone
from mmseg_uda.miniworld.web import Caption, frame_crops, object_boxes, read_web, render_web
from mmseg_uda.miniworld.weights import contrastive_loss, shown_prompts, train_backbone
from mmseg_uda.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy("cityscapes19")


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    root = tmp_path_factory.mktemp("web")
    render_web(root, seed=3, frames=40, workers=1)
    return read_web(root / "web")


def test_the_web_shows_every_class_with_its_own_prompts(web):
    captions, crops = web
    assert crops.shape == (len(captions), 64, 64, 3)
    assert {c.name for c in captions} == set(TAXONOMY.classes)
    for row in captions:
        assert row.prompt in TAXONOMY.prompts[TAXONOMY.class_id(row.name)]
        assert row.prompt in row.text


def test_object_boxes_hold_their_object():
    frame = render(DOMAINS["web"], "train", 1, seed=3)
    boxes = object_boxes(frame)
    assert boxes
    for class_id, (x0, y0, x1, y1) in boxes:
        assert (frame.label[y0:y1, x0:x1] == class_id).any()


def test_no_class_takes_more_than_three_crops_of_a_frame():
    frame = render(DOMAINS["web"], "train", 1, seed=3)
    classes = [c for c, _ in frame_crops(frame, np.random.default_rng(0))]
    assert max(np.bincount(classes)) <= 3
    assert set(classes) <= set(map(int, Ids))


def test_augmentation_stays_in_range_and_follows_its_generator():
    images = torch.rand(4, 3, 16, 16)
    first, second = (augment(images, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == images.shape
    assert first.min() >= 0 and first.max() <= 1


def test_a_specific_prompt_is_not_true_of_every_crop_of_the_class():
    rows = [
        Caption("", "truck", "truck", "truck"),
        Caption("", "truck", "box truck", "box truck"),
        Caption("", "bus", "bus", "bus"),
    ]
    # The plain truck does not show a box truck; the box truck does show a truck.
    assert shown_prompts(rows, torch.arange(3)).tolist() == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
    ]


def test_contrastive_loss_of_flat_logits_is_the_logarithm_of_the_batch():
    loss = contrastive_loss(torch.zeros(4, 4), torch.eye(4, dtype=torch.bool))
    assert loss.item() == pytest.approx(np.log(4))


def test_backbone_training_repeats_itself(web):
    captions, crops = web
    (one, _), (other, accuracy) = (
        train_backbone(captions, crops, nano_backbone, 2) for _ in range(2)
    )
    first, second = one.state_dict(), other.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert 0 <= accuracy <= 1
