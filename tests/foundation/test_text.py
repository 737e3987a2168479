import numpy as np
import pytest
import torch

from mmseg_uda.archives import read_arrays
from mmseg_uda.foundation import ToyScorer
from mmseg_uda.foundation.text import class_text_features, encode_prompts, mean_features

RAW = torch.tensor([[3.0, 0.0], [0.0, 1.0]])


class CountingScorer(ToyScorer):
    """Remembers the phrases that reach the text tower."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = []

    def encode_text(self, prompts, device):
        self.calls.append(list(prompts))
        return super().encode_text(prompts, device)


@pytest.mark.parametrize(
    ("normalize", "expected"), [(False, (0.948683, 0.316228)), (True, (0.707107, 0.707107))]
)
def test_longer_features_weigh_more_unless_normalised(normalize, expected):
    (mean,) = mean_features(RAW, torch.tensor([0, 0]), 1, normalize).tolist()
    assert mean == pytest.approx(expected, abs=1e-6)


def test_each_class_has_the_mean_of_its_own_names():
    scorer = CountingScorer()
    names = [["road"], ["car", "sedan", "road"]]
    features = class_text_features(scorer, names)
    raw = scorer.encode_text(["a photo of road", "a photo of car", "a photo of sedan"], "cpu")
    mean = raw[[1, 2, 0]].mean(0)
    torch.testing.assert_close(features[0], raw[0] / raw[0].norm())
    torch.testing.assert_close(features[1], mean / mean.norm())
    assert scorer.calls[0] == ["a photo of road", "a photo of car", "a photo of sedan"]


def test_templates_multiply_names():
    scorer = CountingScorer()
    class_text_features(scorer, [["car"]], templates=("a photo of {}", "one {} on a street"))
    assert scorer.calls == [["a photo of car", "one car on a street"]]


def test_phrases_are_encoded_once_in_batches_and_kept_in_a_file(tmp_path):
    prompts = [f"thing {i % 5}" for i in range(12)]
    scorer = CountingScorer(chunk=2)
    features = encode_prompts(scorer, prompts, cache=tmp_path)
    assert [len(call) for call in scorer.calls] == [2, 2, 1]
    torch.testing.assert_close(features[0], features[5])
    again = CountingScorer(chunk=3)
    assert torch.equal(encode_prompts(again, prompts, cache=tmp_path), features)
    assert again.calls == []


def test_other_phrases_or_another_model_are_not_read_from_the_file(tmp_path):
    encode_prompts(CountingScorer(), ["car", "road"], cache=tmp_path)
    for scorer, prompts in (
        (CountingScorer(), ["car", "roads"]),
        (CountingScorer(table={"car": (255, 0, 0)}), ["car", "road"]),
    ):
        expected = scorer.encode_text(prompts, torch.device("cpu"))
        scorer.calls.clear()
        assert torch.equal(encode_prompts(scorer, prompts, cache=tmp_path), expected)
        assert scorer.calls == [prompts]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", ["nothing", "no archive", "other shape", "flipped bit"])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    features = encode_prompts(ToyScorer(), ["car"], cache=tmp_path)
    (path,) = tmp_path.iterdir()
    if damage == "other shape":
        np.savez(path, features=np.zeros((3, 2), np.float32))
    elif damage == "flipped bit":
        content = bytearray(path.read_bytes())
        content[content.index(features[0].numpy().tobytes())] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(b"" if damage == "nothing" else b"\x93NUMPY")
    assert torch.equal(encode_prompts(ToyScorer(), ["car"], cache=tmp_path), features)
    assert np.array_equal(read_arrays(path)["features"], features.numpy())
