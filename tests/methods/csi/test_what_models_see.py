"""What the detector and the crop classifier are given, and what counts of their answer."""

import pytest
import torch

from mmseg_uda.engine.records import Normalization, TargetBatch

CAR, TRUCK = 13, 14
TRUCK_BOX = (0, 2, 2, 30, 30, "truck", 0.4)
MANUAL = [{"target": "truck", "source": "car"}]


def test_both_models_see_rgb_between_0_and_1(make, begin, record, cars):
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    image = torch.randn(*cars.shape).unsqueeze(1).repeat(1, 3, 1, 1) * 2  # beyond black and white
    component = make([TRUCK_BOX], mapping=MANUAL)
    seen = []
    detect, classify = component.detector.detect, component.check.classifier.classify

    def spy_detect(images, *args):
        seen.append(images)
        return detect(images, *args)

    def spy_classify(images, *args):
        seen.append(images)
        return classify(images, *args)

    component.detector.detect = spy_detect
    component.check.classifier.classify = spy_classify
    target = TargetBatch(image, None, Normalization(mean, std))
    begin(component, 30).refine(target, record(cars))
    expected = ((image * std + mean) / 255).clamp(0, 1)
    assert len(seen) == 2
    for images in seen:
        torch.testing.assert_close(images, expected)


@pytest.mark.parametrize(
    ("rival", "accepted"), [("building", True), ("tree", True), ("bus", False)]
)
def test_only_phrases_of_the_super_category_compete(make, run, target, cars, rival, accepted):
    component = make([TRUCK_BOX], mapping=MANUAL)
    prompts = [p for texts in component.taxonomy.prompts for p in texts]

    def classify(images, given, boxes, index):
        assert list(given) == prompts
        logits = torch.zeros(len(boxes), len(prompts))
        logits[:, prompts.index("truck")] = 20.0
        logits[:, prompts.index(rival)] = 40.0
        return logits

    component.check.classifier.classify = classify
    edited = run(component, 30, target, cars).label
    assert (edited == TRUCK).any().item() is accepted
