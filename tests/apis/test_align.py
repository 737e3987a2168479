"""Alignment of single images from Python in a toy world."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import toy_alignment as toy

from mmseg_uda.apis import Aligner, AlignmentSettings, align, init_segmentor
from mmseg_uda.errors import UserError

SCORER = dict(type="ToyScorer", table=toy.TABLE, input_size=8)
PROPOSER = dict(type="grid", cell=16)
WANTED = np.kron([[0, 1], [2, 3]], np.ones((32, 32), int))


@pytest.fixture
def chosen(tmp_path):
    return dict(
        taxonomy=toy.taxonomy(tmp_path), proposer=PROPOSER, scorer=SCORER, device="cpu",
        **toy.OPTIONS,
    )  # fmt: skip


@pytest.fixture
def image():
    return toy.picture(*toy.COLORS.values())


def aligned(image, source, **options):
    return align(image, source, channel_order="rgb", **options)


def test_a_toy_image_gets_the_labels_written_by_hand_within_a_second(chosen, image):
    start = time.perf_counter()
    sample = aligned(image, toy.halves(), **chosen)
    assert time.perf_counter() - start < 1
    assert np.array_equal(sample.pred_sem_seg.data[0].numpy(), WANTED)
    assert sample.pred_sem_seg.data.dtype == torch.int64
    assert sample.classes == tuple(toy.COLORS)
    assert sample.palette[3] == list(toy.BLUE)
    assert len(sample.regions) == 16
    assert sample.regions.labels.unique().tolist() == [0, 1, 2, 3]
    assert sample.regions.accepted.all()
    assert sample.confidence.data.min() > 0.6


def test_colours_are_told_apart_in_either_order(chosen, image):
    bgr = np.ascontiguousarray(image[..., ::-1])
    assert np.array_equal(align(bgr, toy.halves(), **chosen).pred_sem_seg.data[0].numpy(), WANTED)


def test_files_logits_and_labels_agree(chosen, image, tmp_path):
    from PIL import Image

    Image.fromarray(image).save(tmp_path / "image.png")
    logits = torch.stack([torch.tensor(toy.halves() == k) * 4.0 for k in (0, 1)])
    for source in (toy.halves(), torch.from_numpy(toy.halves()), logits):
        found = align(tmp_path / "image.png", source, **chosen)
        assert np.array_equal(found.pred_sem_seg.data[0].numpy(), WANTED)


def test_soft_votes_use_the_probabilities(chosen, image):
    # Everywhere barely ground, in three cells of the upper left square surely thing.
    logits = torch.zeros(2, 64, 64)
    logits[0] = 0.02
    logits[1, :16, :16] = 9
    hard = aligned(image, logits, **chosen)
    soft = aligned(image, logits, **chosen, vote="soft")
    assert hard.regions.source_labels.tolist() == soft.regions.source_labels.tolist()
    logits[1, :16, :4], logits[1, :16, 4:16] = 9, 0
    hard = aligned(image, logits, **chosen)
    soft = aligned(image, logits, **chosen, vote="soft")
    assert (hard.regions.source_labels[0], soft.regions.source_labels[0]) == (0, 1)
    with pytest.raises(UserError, match="Soft votes need logits"):
        aligned(image, toy.halves(), **chosen, vote="soft")


def test_coarse_logits_are_resized_to_the_working_size(chosen, image):
    logits = torch.nn.functional.one_hot(torch.tensor([[0, 0], [1, 1]])).permute(2, 0, 1) * 5.0
    for resize in ("logits", "labels"):
        found = aligned(image, logits, **chosen, source_resize=resize)
        assert np.array_equal(found.pred_sem_seg.data[0].numpy(), WANTED)


def test_a_segmentor_is_put_into_eval_mode_and_left_as_it_was(chosen, image, trained):
    model = init_segmentor(*trained("daformer"), "cpu").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = {**chosen, "taxonomy": "cityscapes_closed"}
    first = align(image, model, **options)
    second = align(image, model, **options)
    assert torch.equal(first.pred_sem_seg.data, second.pred_sem_seg.data)
    assert torch.equal(first.confidence.data, second.confidence.data)
    assert not any(module.training for module in model.modules())
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert align(image, model, **options, vote="soft").pred_sem_seg.shape == (64, 64)


def test_chunks_do_not_change_labels_and_hardly_features(chosen, image):
    results = []
    for chunk in (1, 7, 128):
        options = {**chosen, "scorer": {**SCORER, "chunk": chunk}}
        results.append(aligned(image, toy.halves(), **options))
    for other in results[1:]:
        assert torch.equal(other.pred_sem_seg.data, results[0].pred_sem_seg.data)
        assert torch.allclose(other.regions.scores, results[0].regions.scores, atol=1e-5)


def test_an_aligner_encodes_its_texts_once(chosen, image, monkeypatch):
    options = {key: chosen.pop(key) for key in ("taxonomy", "proposer", "scorer", "device")}
    options["scorer"] = {**SCORER, "chunk": 512}
    aligner = Aligner(AlignmentSettings(**options, options=chosen))
    for _ in range(3):
        aligner(image, toy.halves(), "rgb")
    assert aligner.engine.scorer.text_calls == 1
    assert aligner.engine.scorer.image_calls == 3


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (dict(proposer=dict(type="squares")), "proposer.type='squares'"),
        (dict(proposer=dict(type="grid", side=4)), "no option 'side'"),
        (dict(scorer=dict(type="blip")), "scorer.type='blip'"),
        (dict(taxonomy="pascal"), "pascal"),
        (dict(threshold=2.0), "threshold=2.0"),
        (dict(no_such_option=1), "no_such_option"),
    ],
)
def test_unknown_names_are_told(chosen, image, wrong, text):
    with pytest.raises(UserError, match=text):
        align(image, toy.halves(), **{**chosen, **wrong})


@pytest.mark.parametrize("source", [np.zeros((64, 64)), np.zeros(4, int), np.zeros((1, 2, 3, 4))])
def test_a_source_that_is_neither_labels_nor_logits(chosen, image, source):
    with pytest.raises(UserError, match="neither"):
        aligned(image, source, **chosen)


def test_the_toy_world_needs_no_foundation_model_package():
    """With transformers, segment-anything, pycocotools and scikit-image out of reach."""
    code = """
import sys, tempfile, pathlib
for name in ("segment_anything", "pycocotools", "skimage", "open_clip"):
    sys.modules[name] = None
sys.path.insert(0, "tests/helpers")
import toy_alignment as toy
root = toy.write_world(pathlib.Path(tempfile.mkdtemp()))
print(toy.run_all(root, root / "out")["alignment"]["switched"])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.split()[-1:] == ["0.5"], ran.stderr[-2000:]
