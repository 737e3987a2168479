import numpy as np
import pytest
import torch
from tiny_sam import LOOSE, tiny_published_sam, with_network

from mmseg_uda.foundation import MaskSet, SamProposer
from mmseg_uda.foundation.masks.automatic import AutomaticMaskProposer, GenerationOptions


class Points(torch.nn.Module):
    """Stands where the prompt encoder is, and hands the points through."""

    def forward(self, points, boxes, masks):
        return points[0], None

    def get_dense_pe(self):
        return None


class Blobs(torch.nn.Module):
    """Stands where the decoder is: discs of three sizes around each point, with speckles."""

    def forward(self, image_embeddings, sparse_prompt_embeddings, **_):
        y, x = torch.meshgrid(*[4 * torch.arange(16) + 2.0] * 2, indexing="ij")
        points = sparse_prompt_embeddings[:, 0].float()
        distance = (x - points[:, :1, None]) ** 2 + (y - points[:, 1:, None]) ** 2
        radius = torch.tensor([5.0, 8.0, 20.0])
        logits = radius.view(1, 3, 1, 1) - distance.sqrt()[:, None]
        speckles = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.9
        # Only near the disc, or every box would be as large as the image.
        logits = torch.where(speckles & (logits > -6), -0.8 * logits, logits)
        score = (points.sum(1, keepdim=True) * torch.tensor([0.37, 0.61, 0.83])) % 1
        return logits + image_embeddings.mean().tanh(), score


@pytest.fixture(scope="module")
def discs():
    pytest.importorskip("segment_anything", reason="segment-anything is optional")
    network = tiny_published_sam()
    network.prompt_encoder, network.mask_decoder = Points(), Blobs()
    return network


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("area", [0, 12])
@pytest.mark.parametrize("strictness", [0.05, 0.5])
def test_masks_are_those_of_segment_anythings_generator(discs, picture, layers, area, strictness):
    from segment_anything import SamAutomaticMaskGenerator

    options = {
        "points_per_side": 6,
        "points_per_batch": 7,
        "pred_iou_thresh": strictness,
        "stability_score_thresh": 0.6,
        "min_mask_region_area": area,
        "crop_n_layers": layers,
        "crop_n_points_downscale_factor": 2,
        "crop_overlap_ratio": 512 / 1500,
    }
    picture = picture.repeat(6, axis=0).repeat(6, axis=1)
    reference = SamAutomaticMaskGenerator(discs, **options, output_mode="uncompressed_rle")
    expected = MaskSet.from_coco(reference.generate(picture), (240, 336))
    ours = with_network(discs, **options, exact_cleaning=True).propose(picture)
    assert len(ours) > 15
    np.testing.assert_allclose(ours.score, expected.score, atol=1e-5)
    np.testing.assert_allclose(ours.stability, expected.stability, atol=1e-5)
    np.testing.assert_array_equal(ours.box, expected.box)
    np.testing.assert_array_equal(ours.starts, expected.starts)
    np.testing.assert_array_equal(ours.ends, expected.ends)


def test_a_network_that_sees_colours_swapped_proposes_other_masks(sam_folder, picture):
    rgb = SamProposer(str(sam_folder), **LOOSE).propose(picture)
    bgr = SamProposer(str(sam_folder), channel_order="bgr", **LOOSE)
    assert bgr.propose(np.ascontiguousarray(picture[..., ::-1])) == rgb
    assert bgr.propose(picture) != rgb


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batches_of_points_do_not_change_masks(sam_folder, picture, batch):
    whole = SamProposer(str(sam_folder), **LOOSE)
    parts = SamProposer(str(sam_folder), **{**LOOSE, "points_per_batch": batch})
    ours, expected = parts.propose(picture), whole.propose(picture)
    assert len(ours) == len(expected) > 0
    np.testing.assert_array_equal(ours.owner(), expected.owner())
    assert parts.cache_key == whole.cache_key


def test_no_mask_is_a_legal_answer(sam_folder, picture):
    proposer = SamProposer(str(sam_folder), **{**LOOSE, "pred_iou_thresh": 1e9})
    masks = proposer.propose(picture)
    assert len(masks) == 0 and masks.size == (40, 56)


class Unsure:
    """Stands where a backend is: notes its points and is just not sure enough of any mask."""

    cache_key, input_side, keeps_proportions = "unsure", 64, True

    def __init__(self):
        self.points = []

    def load(self):
        pass

    def embed(self, pixels):
        self.points.append([])

    def predict(self, embedding, points):
        self.points[-1] += points.tolist()
        size = len(points), 3
        return torch.ones(*size, 16, 16), torch.full(size, GenerationOptions.pred_iou_thresh)


def test_points_of_a_whole_image():
    # 5 passes of the encoder, 24 576 masks, the threshold exclusive
    backend = Unsure()
    proposer = AutomaticMaskProposer(backend, GenerationOptions())
    assert len(proposer.propose(np.zeros((1440, 1920, 3), np.uint8))) == 0
    counts = [len(points) for points in backend.points]
    assert counts == [4096, 1024, 1024, 1024, 1024]
    assert 3 * sum(counts) == 24576
    # The image lies in 64 x 48 pixels of the input.
    assert backend.points[0][:2] == [[0.5, 0.375], [1.5, 0.375]]
    assert backend.points[0][-1] == [63.5, 47.625]


def test_defaults_are_those_of_dynalign():
    options = GenerationOptions()
    assert (options.points_per_side, options.points_per_batch) == (64, 64)
    assert (options.pred_iou_thresh, options.stability_score_thresh) == (0.86, 0.92)
    assert options.stability_score_offset == 1.0
    assert (options.box_nms_thresh, options.crop_nms_thresh) == (0.7, 0.7)
    assert (options.crop_n_layers, options.crop_n_points_downscale_factor) == (1, 2)
    assert options.crop_overlap_ratio == 512 / 1500 and options.min_mask_region_area == 100
    assert issubclass(SamProposer, AutomaticMaskProposer)
