"""Cell labels and the feature distance."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from torch import nn
from vfm import vfm_uda_network

from mmseg_uda.engine.records import Normalization, SourceBatch
from mmseg_uda.errors import UserError
from mmseg_uda.methods.daformer import FeatureDistance, downscale_label, masked_distance
from mmseg_uda.methods.daformer.feature_distance import fit_label
from mmseg_uda.models.views import FeatureView, SegmentorOutput
from mmseg_uda.taxonomy import load_taxonomy

LABEL = torch.tensor([[[0, 0, 1, 1], [0, 1, 1, 1], [2, 2, 255, 255], [2, 255, 255, 0]]])


def test_cells_take_their_dominating_class():
    cells = downscale_label(LABEL, factor=2, min_ratio=0.75, num_classes=3)
    assert cells.tolist() == [[[0, 1], [2, 255]]]


def test_cells_of_the_chosen_classes_count():
    cells = downscale_label(LABEL, factor=2, min_ratio=0.75, num_classes=3)
    for classes, expected in (([1, 2], [[0, 1], [1, 0]]), ([0, 1], [[1, 1], [0, 0]])):
        component = FeatureDistance(classes=classes)
        component.bind(host())
        assert component.select(cells, 255).int().tolist() == [expected]
    everything = FeatureDistance(classes=None)
    everything.bind(host())
    assert everything.select(cells, 255).all()


def test_a_tie_below_the_ratio_is_ignored():
    label = torch.tensor([[[0, 0], [1, 1]]])
    assert downscale_label(label, 2, 0.75, 3).item() == 255


def test_a_tie_that_reaches_the_ratio_takes_the_lowest_class():
    label = torch.tensor([[[2, 1], [1, 2]]])
    assert downscale_label(label, 2, 0.5, 3).item() == 1


def test_a_rest_at_the_border_is_dropped():
    assert downscale_label(torch.zeros(1, 5, 7, dtype=torch.int64), 2, 0.75, 3).shape == (1, 2, 3)


def test_distance_is_the_mean_over_selected_cells():
    features = torch.zeros(1, 2, 1, 3)
    features[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    features[0, :, 0, 2] = 100.0
    mask = torch.tensor([[[True, True, False]]])
    distance = masked_distance(features, torch.zeros_like(features), mask)
    assert distance.item() == pytest.approx(2.5)
    assert 0.005 * distance.item() == pytest.approx(0.0125)


def test_cells_of_all_images_count_alike():
    """A mean over images would be (5 + 1) / 2."""
    features = torch.zeros(2, 2, 1, 3)
    features[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    features[1, 0] = 1.0
    mask = torch.tensor([[[True, False, False]], [[True, True, True]]])
    distance = masked_distance(features, torch.zeros_like(features), mask)
    assert distance.item() == pytest.approx((5 + 3 * 1) / 4)


def test_no_selected_cell_gives_zero_loss_and_gradient():
    features = torch.randn(1, 4, 2, 2, requires_grad=True)
    distance = masked_distance(features, torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2).bool())
    distance.backward()
    assert distance.item() == 0.0
    assert torch.equal(features.grad, torch.zeros_like(features))


def test_equal_features_have_a_finite_gradient():
    features = torch.ones(1, 2, 1, 1, requires_grad=True)
    masked_distance(features, torch.ones(1, 2, 1, 1), torch.ones(1, 1, 1).bool()).backward()
    assert torch.isfinite(features.grad).all()


class Features(nn.Module):
    """A segmentor whose encoder gives zeros at half of the image's resolution."""

    def __init__(self):
        super().__init__()
        self.decode_head = nn.Identity()

    def extract_feat(self, image):
        batch, _, height, width = image.shape
        return [torch.ones(batch, 9, height, width), torch.zeros(batch, 2, height // 2, width // 2)]


def host():
    return SimpleNamespace(num_classes=3, ignore_index=255, taxonomy=None, model=Features())


def source_losses(differences, label=LABEL, **options):
    """The component's loss where student and ImageNet network differ by (rows, columns, 2)."""
    component = FeatureDistance(classes=[1, 2], min_ratio=0.75, **options)
    component.bind(host())
    features = torch.tensor(differences).permute(2, 0, 1)[None].requires_grad_()
    unit = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    source = SourceBatch(torch.zeros(1, 3, 4, 4), label, unit)
    # Only the last stage counts: the first one differs by far more.
    view = FeatureView([torch.zeros(1, 9, 4, 4), features], 1.0, None)
    ctx = SimpleNamespace(host=host())
    (loss,) = component.source_losses(ctx, source, SegmentorOutput((), (view,))).values()
    loss.backward()
    return loss.item(), features.grad


def test_loss_of_two_cells():
    loss, _ = source_losses([[[9.0, 9.0], [3.0, 4.0]], [[0.0, 0.0], [9.0, 9.0]]])
    assert loss == pytest.approx(0.0125, rel=1e-6)
    loss, _ = source_losses([[[9.0, 9.0], [3.0, 4.0]], [[0.0, 0.0], [9.0, 9.0]]], loss_weight=2.0)
    assert loss == pytest.approx(5.0, rel=1e-6)


def test_loss_without_a_cell_of_the_classes():
    loss, gradient = source_losses([[[1.0, 1.0]] * 2] * 2, label=torch.zeros_like(LABEL))
    assert loss == 0.0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_labels_are_resized_as_a_plain_transformer_resizes_images():
    label = torch.arange(64 * 64).view(1, 64, 64)
    model = MODELS.build(ConfigDict(vfm_uda_network(8, 2, 2)))
    fitted, factor = fit_label(model, label, (5, 5))  # 64 pixels become 70
    assert fitted.shape == (1, 70, 70) and factor == 14
    rows = (torch.arange(70) * 64 / 70).long()
    assert torch.equal(fitted[0], label[0][rows][:, rows])
    with pytest.raises(UserError, match="3x3 cells"):
        fit_label(model, label, (3, 3))


HARBOUR = [("water", "false"), ("ship", "true"), ("quay", "false")]
CITYSCAPES_THINGS = [6, 7, *range(11, 19)]  # DAFormer, Sec. 3.4


def selected(taxonomy, number, **options):
    """Ids of the classes that count."""
    component = FeatureDistance(**options)
    component.bind(SimpleNamespace(**{**vars(host()), "num_classes": number, "taxonomy": taxonomy}))
    return component._selected.nonzero()[:, 0].tolist()


def test_the_taxonomy_says_which_classes_are_things(tmp_path):
    assert selected(load_taxonomy("cityscapes19"), 19) == CITYSCAPES_THINGS
    assert selected(None, 19) == CITYSCAPES_THINGS
    path = tmp_path / "harbour.yaml"
    rest = "color: [0, 0, 9], group: g, prompts: [p]"
    rows = [f"  - {{name: {name}, thing: {thing}, {rest}}}" for name, thing in HARBOUR]
    path.write_text("\n".join(["name: harbour", "classes:", *rows]))
    assert selected(load_taxonomy(path), 3) == [1]
    assert selected(load_taxonomy(path), 3, classes=["quay"]) == [2]
    assert selected(load_taxonomy(path), 3, classes=None) == [0, 1, 2]


def test_a_taxonomy_without_things_and_a_lone_word_are_told():
    without = replace(load_taxonomy("cityscapes19"), things=())
    with pytest.raises(UserError, match="'cityscapes19' has no things.*\n.*thing: true"):
        selected(without, 19)
    with pytest.raises(UserError, match=r"uda\.feature_distance\.classes='car' is not possible"):
        FeatureDistance(classes="car")
