"""Scripted stand-ins for the foundation models, and a host that is only what CSI asks of it."""

import json
from types import SimpleNamespace

import pytest
import torch

from mmseg_uda.engine.records import Normalization, TargetBatch
from mmseg_uda.foundation import CropClassifier, Detector
from mmseg_uda.methods.csi import TaxonomyRelabeling
from mmseg_uda.self_training.component import StepContext
from mmseg_uda.self_training.random import StepRandom
from mmseg_uda.self_training.records import PseudoLabels
from mmseg_uda.taxonomy import load_taxonomy

FULL_MAP = [
    {"target": "terrain", "source": "vegetation", "box_score": 0.01, "crop_score": 0.1},
    {"target": "truck", "source": "car"},
    {"target": "train"},
]
SIDE = 40


class ScriptedDetector(Detector):
    """Returns the boxes in ``script``: (image, x0, y0, x1, y1, phrase, score)."""

    def __init__(self, script=(), preprocess="?", dtype="?"):
        self.script = script
        self.options = (preprocess, dtype)
        self.calls = []

    def detect(self, images, prompts, background=()):
        self.calls.append((list(prompts), list(background)))
        height, width = images.shape[-2:]
        n = max([1, *(sum(s[0] == b for s in self.script) for b in range(len(images)))])
        logits = torch.full((len(images), n, len(prompts)), -30.0)
        boxes = torch.zeros(len(images), n, 4)
        for b in range(len(images)):
            for k, item in enumerate(s for s in self.script if s[0] == b):
                _, x0, y0, x1, y1, phrase, score = item
                if phrase in prompts:
                    logits[b, k, prompts.index(phrase)] = torch.tensor(score).logit()
                size = torch.tensor([width, height, width, height])
                box = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])
                boxes[b, k] = box / size
        return logits, boxes


class ScriptedClassifier(CropClassifier):
    """Finds every crop most similar to one phrase."""

    input_size = embed_dim = 8
    cache_key = "stand-in"

    def __init__(self, phrase="truck", crop_mode="?", preprocess="?", dtype="?", chunk=0):
        self.phrase = phrase
        self.options = (crop_mode, preprocess, dtype, chunk)
        self.calls = []

    def logit_scale(self, device):
        return torch.tensor(1.0)

    def encode_text(self, prompts, device):
        raise NotImplementedError

    encode_image = encode_text

    def classify(self, images, prompts, boxes=None, index=None):
        self.calls.append(boxes.tolist())
        logits = torch.zeros(len(boxes), len(prompts))
        logits[:, prompts.index(self.phrase)] = 20.0
        return logits


@pytest.fixture
def make():
    """Builds a bound component; ``script`` and ``phrase`` drive the stand-ins."""

    def build(script=(), phrase="truck", taxonomy="cityscapes19", num_classes=19, **options):
        options.setdefault("mapping", FULL_MAP)
        options.setdefault("collect", (10, 20))
        options.setdefault("relabel", (20, 50))
        options.setdefault("detector", {"type": ScriptedDetector, "script": script})
        options.setdefault("classifier", {"type": ScriptedClassifier, "phrase": phrase})
        component = TaxonomyRelabeling(**options)
        taxonomy = load_taxonomy(taxonomy) if taxonomy else None
        component.bind(SimpleNamespace(taxonomy=taxonomy, num_classes=num_classes, max_iters=50))
        return component

    return build


@pytest.fixture
def target():
    normalization = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    return TargetBatch(torch.rand(2, 3, SIDE, SIDE) * 255, None, normalization)


def pseudo_labels(label, primary=True):
    confidence = torch.linspace(0.5, 1, label.numel()).view(label.shape)
    return PseudoLabels(
        label=label,
        confidence=confidence,
        confident=confidence > 0.9,
        share=torch.full((len(label),), 0.2),
        weight=confidence * (torch.arange(label.shape[-1]) > 3),
        primary=primary,
    )


@pytest.fixture
def cars():
    """Left half car, right half vegetation, in both images."""
    label = torch.full((2, SIDE, SIDE), 13)
    label[..., SIDE // 2 :] = 8
    return label


class Step:
    """Runs one step of a component and keeps what it logged."""

    def __init__(self, component, step):
        self.scalars = {}
        self.ctx = StepContext(step, StepRandom(), None, self.scalars.__setitem__)
        self.component = component
        component.begin_step(self.ctx)

    def refine(self, target, pseudo):
        return self.component.refine_labels(self.ctx, target, pseudo)


@pytest.fixture
def begin():
    """``begin(component, step)`` starts a step; ``refine`` edits labels, ``scalars`` is the log."""
    return Step


@pytest.fixture
def record():
    """``record(label, primary)`` makes a teacher's record of labels."""
    return pseudo_labels


@pytest.fixture
def scripted():
    """The stand-ins' classes."""
    return SimpleNamespace(detector=ScriptedDetector, classifier=ScriptedClassifier)


@pytest.fixture
def clip_folder(tmp_path):
    import open_clip
    from safetensors.torch import save_file

    towers = {
        "embed_dim": 8,
        "vision_cfg": {
            "image_size": 16,
            "layers": 1,
            "width": 16,
            "head_width": 8,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 8,
            "heads": 1,
            "layers": 1,
        },
    }
    save_file(open_clip.CLIP(**towers).state_dict(), tmp_path / "open_clip_model.safetensors")
    settings = {"model_cfg": towers, "preprocess_cfg": {"size": 16}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(settings))
    return tmp_path


@pytest.fixture
def run():
    def once(component, step, target, label, primary=True):
        return Step(component, step).refine(target, pseudo_labels(label, primary))

    return once
