import numpy as np
import pytest
import torch

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import DETECTORS, CropClassifier, ProposalDetector
from mmseg_uda.foundation.proposals import (
    find_regions,
    grid_boxes,
    inner_boxes,
    merged_boxes,
    rank_boxes,
)


class ColourClassifier(CropClassifier):
    """Phrases are colours; the logit falls with the distance of the crop's mean colour."""

    colours = {
        "red": (1.0, 0.0, 0.0),
        "scarlet": (1.0, 0.0, 0.0),
        "green": (0.0, 1.0, 0.0),
        "grey": (0.5, 0.5, 0.5),
    }
    input_size = embed_dim = 8
    cache_key = "stand-in"

    def __init__(self):
        super().__init__("stretch", "tensor", "fp32", 64)

    def logit_scale(self, device):
        return torch.tensor(1.0)

    def encode_text(self, prompts, device):
        raise NotImplementedError

    encode_image = encode_text

    def classify(self, images, prompts, boxes=None, index=None):
        means = torch.stack(
            [
                images[i, :, y0:y1, x0:x1].mean((1, 2))
                for (x0, y0, x1, y1), i in zip(boxes, index, strict=True)
            ]
        )
        return -10 * torch.cdist(means, torch.tensor([self.colours[p] for p in prompts]))


@pytest.fixture
def scene():
    """Grey images; a red box in the first, nothing in the second."""
    images = torch.full((2, 3, 128, 128), 0.5)
    images[0, :, 40:80, 30:100] = torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1)
    return images


def best(logits, boxes):
    score, at = logits.sigmoid().amax(2).max(1)
    cx, cy, w, h = (boxes[torch.arange(len(boxes)), at] * 128).unbind(1)
    return score, torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)


@pytest.mark.parametrize("proposals", ["segments", "both"])
def test_finds_the_object_and_scores_it_against_the_background(scene, proposals):
    detector = ProposalDetector(ColourClassifier(), proposals=proposals)
    logits, boxes = detector.detect(scene, ["red", "green"], background=["grey"])
    assert logits.shape[:2] == boxes.shape[:2] and logits.shape[2] == 2
    score, box = best(logits[:1], boxes[:1])
    assert score > 0.9
    torch.testing.assert_close(box[0], torch.tensor([30.0, 40.0, 100.0, 80.0]), atol=4, rtol=0)
    assert logits[1].sigmoid().max() < 0.01


def test_score_is_the_softmax_share_of_the_phrase(scene):
    detector = ProposalDetector(ColourClassifier(), proposals="grid", max_inner=0, temperature=2.0)
    logits, _ = detector.detect(scene, ["red", "green"], background=["grey", "red"])
    boxes = torch.from_numpy(detector.propose(scene)[0]).long()
    raw = ColourClassifier().classify(scene, ["red", "green", "grey"], boxes, [0] * len(boxes))
    expected = (raw / 2).softmax(1)[:, :2]
    torch.testing.assert_close(logits[0].sigmoid(), expected, atol=1e-6, rtol=1e-4)


def test_synonyms_compete_unless_the_background_is_the_only_rival(scene):
    both = ["red", "scarlet"]
    scores = {}
    for rivals in ("all", "background"):
        detector = ProposalDetector(ColourClassifier(), rivals=rivals)
        scores[rivals] = [
            detector.detect(scene, prompts, ["grey"])[0].sigmoid().max().item()
            for prompts in (both, both[:1])
        ]
    assert scores["background"][0] == pytest.approx(scores["background"][1], abs=1e-6)
    assert scores["all"][0] == pytest.approx(0.5, abs=0.01) and scores["all"][1] > 0.9


def test_configured_background_takes_the_place_of_the_callers(scene):
    detector = ProposalDetector(ColourClassifier(), proposals="grid", background=())
    logits, boxes = detector.detect(scene, ["red"], background=["grey"])
    assert (logits[boxes[..., 2] > 0].sigmoid() > 0.999).all()


def test_missing_proposals_score_zero(scene):
    detector = ProposalDetector(ColourClassifier(), max_inner=0)
    logits, boxes = detector.detect(scene, ["red"], ["grey"])
    empty = boxes[..., 2] == 0
    assert empty.any()
    assert (logits[empty].sigmoid() == 0).all()


def test_uniform_images_have_no_proposal_and_no_error():
    flat = torch.full((2, 3, 64, 64), 0.3)
    detector = ProposalDetector(ColourClassifier(), max_inner=0)
    logits, boxes = detector.detect(flat, ["red"], ["grey"])
    assert logits.shape == (2, 1, 1)
    assert logits.sigmoid().max() == 0 and boxes.abs().max() == 0


def test_the_real_classifier_serves_behind_the_registry(open_clip_folder, images):
    classifier = {"type": "OpenClip", "checkpoint": str(open_clip_folder)}
    detector = DETECTORS.build({"type": "ProposalDetector", "classifier": classifier})
    logits, boxes = detector.detect(images, ["truck", "train"], ["car", "road"])
    again, _ = detector.detect(images, ["truck", "train"], ["car", "road"])
    assert torch.equal(logits, again)
    assert logits.shape[0] == 2 and logits.shape[2] == 2 and torch.isfinite(logits).all()
    assert (boxes >= 0).all() and (boxes <= 1).all()


@pytest.fixture
def regions(scene):
    return find_regions((scene[0] * 255).byte().permute(1, 2, 0).numpy())


RED_BOX = [30, 40, 100, 80]


def test_boxes_that_regions_cross_rank_last(regions):
    shifted = [50, 40, 120, 80]
    boxes = np.array([shifted, RED_BOX], dtype=np.float32)
    assert rank_boxes(regions, boxes, 2, overlap=0.9).tolist() == [RED_BOX, shifted]
    assert rank_boxes(regions, boxes, 1, overlap=0.9).tolist() == [RED_BOX]


def test_overlapping_small_and_large_boxes_are_dropped(regions):
    tiny, whole = [30, 40, 38, 80], [0, 0, 128, 128]
    boxes = np.array([RED_BOX, [32, 40, 100, 80], tiny, whole], dtype=np.float32)
    assert rank_boxes(regions, boxes, 9, 0.5, min_side=10, max_area=0.6).tolist() == [RED_BOX]


def test_regions_merge_into_the_object(regions):
    assert (np.abs(merged_boxes(regions) - RED_BOX).max(1) <= 4).any()


def test_inner_boxes_lie_mostly_inside_their_region(regions):
    boxes = inner_boxes(regions, 9, min_side=10)
    assert 0 < len(boxes) <= 9
    red = np.zeros((128, 128), dtype=bool)
    red[40:80, 30:100] = True
    shares = [red[y0:y1, x0:x1].mean() for x0, y0, x1, y1 in boxes.round().astype(int)]
    assert all(share < 0.4 or share > 0.6 for share in shares)
    assert len(inner_boxes(regions, 1, min_side=10)) == 1


def test_grid_covers_the_image_inside_its_border():
    boxes = grid_boxes(96, 128, sizes=(0.5,), aspects=(1.0, 2.0), stride=0.5)
    assert boxes[:, :2].min() == 0 and boxes[:, 2].max() == 128 and boxes[:, 3].max() == 96
    covered = np.zeros((96, 128), dtype=bool)
    for x0, y0, x1, y1 in boxes.astype(int):
        covered[y0:y1, x0:x1] = True
    assert covered.all()


def test_regions_are_the_same_every_time():
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    assert np.array_equal(merged_boxes(find_regions(image)), merged_boxes(find_regions(image)))


@pytest.mark.parametrize(
    "options", [{"proposals": "x"}, {"rivals": "x"}, {"max_proposals": 0}, {"temperature": 0}]
)
def test_bad_options_fail_when_built(options):
    with pytest.raises(UserError, match=next(iter(options))):
        ProposalDetector(ColourClassifier(), **options)
