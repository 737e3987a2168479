import pytest
import torch

from mmseg_uda.methods.csi import accept_crops, crop_decision
from mmseg_uda.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy("cityscapes19")
OWNER = torch.tensor([c for c, texts in enumerate(TAXONOMY.prompts) for _ in texts])


def in_group(group):
    return torch.tensor([TAXONOMY.groups[c] == group for c in OWNER.tolist()])[None]


def test_prompt_table():
    assert len(OWNER) == 60
    assert in_group("nature")[0].nonzero().flatten().tolist() == list(range(23, 31))
    assert in_group("vehicle")[0].nonzero().flatten().tolist() == list(range(45, 60))


@pytest.fixture
def truck_crop():
    # Phrases of other groups are far more similar and must not matter.
    logits = torch.full((1, 60), 99.0)
    logits[0, 45:60] = 20.0
    logits[0, 45], logits[0, 49], logits[0, 50], logits[0, 51] = 21.0, 24.0, 24.0, 22.0
    return logits


@pytest.mark.parametrize(
    ("rule", "confidence", "verdict"), [("max_prompt", 0.4190, False), ("sum_class", 0.9024, True)]
)
def test_synonyms_split_or_share_the_probability(truck_crop, rule, confidence, verdict):
    predicted, found = crop_decision(truck_crop, in_group("vehicle"), OWNER, rule)
    assert predicted.tolist() == [14]
    assert found.item() == pytest.approx(confidence, abs=1e-6)
    assert accept_crops(predicted, found, torch.tensor([14]), torch.tensor([0.5])).item() is verdict


def test_eight_equal_nature_phrases_exceed_the_published_threshold():
    logits = torch.zeros(1, 60)
    _, confidence = crop_decision(logits, in_group("nature"), OWNER)
    assert confidence.item() == 0.125 > 0.1


def test_confidence_is_rounded_and_equal_is_not_enough():
    # Two phrases at 0.50001 : 0.49999 round to 0.5.
    logits = torch.tensor([[0.00004, 0.0]])
    group = torch.ones(1, 2, dtype=torch.bool)
    predicted, confidence = crop_decision(logits, group, torch.tensor([3, 4]))
    assert confidence.item() == 0.5
    assert not accept_crops(predicted, confidence, torch.tensor([3]), torch.tensor([0.5])).item()


def test_another_class_of_the_group_is_rejected():
    target, threshold = torch.tensor([14]), torch.tensor([0.1])
    assert not accept_crops(torch.tensor([15]), torch.tensor([0.9]), target, threshold).item()
