"""One image in memory, as records of the stages, and as `align` returns it: the same arrays."""

import numpy as np
import pytest
import torch
import toy_alignment as toy
from PIL import Image

from mmseg_uda.apis import AlignmentSettings, align
from mmseg_uda.apis.alignment.given_source import predictor_of
from mmseg_uda.errors import UserError
from mmseg_uda.labels import read_image
from mmseg_uda.methods.dynalign import View, align_image
from mmseg_uda.methods.dynalign.stages import record_of

NAME = "town/frame_1"
LABELS_FIRST = dict(type="ConnectedComponentProposer", source="labels", min_area=1)


def logits():
    """Coarse, unsure along a border that cuts regions."""
    scores = torch.linspace(-2, 2, 24)[:, None].repeat(1, 24)
    return torch.stack([-scores, scores])


def the_three(root, out, proposer, **options):
    """An image in memory, its records, its files and `align`'s sample."""
    source = predictor_of(logits())
    pipeline = toy.pipeline(root, out, proposer=proposer, source=source, **options)
    pipeline.items = [item for item in pipeline.items if item.name == NAME]
    stages = pipeline.run.stages
    assert pipeline(list(stages.values()))["failed"] == 0
    (item,) = pipeline.items
    view = View.create(read_image(str(item.path)), pipeline.run.options, item.name)
    found = align_image(view, proposer, source, pipeline.run.engine)
    return found, {name: stage.read(item) for name, stage in stages.items()}, item.path


@pytest.mark.parametrize(
    ("proposer", "options"),
    [
        (dict(type="grid", cell=16), {}),
        (dict(type="grid", cell=16), dict(vote="soft", source_resize="labels")),
        (dict(type="grid", cell=16), dict(features="fused", working_size="stretch:48x80")),
        (LABELS_FIRST, dict(feature_dtype="float32", crops="exact")),
    ],
    ids=["recommended", "soft votes", "stretched", "regions of the prediction"],
)
def test_memory_records_files_and_align_agree(tmp_path, proposer, options):
    root = toy.write_world(tmp_path / "world", 2)
    made = AlignmentSettings(proposer=proposer).build_proposer()
    found, records, path = the_three(root, tmp_path / "out", made, **options)

    labels, confidence = found.result.at((toy.SIZE, toy.SIZE))
    in_memory = {
        "propose": found.masks.to_arrays(),
        "predict": found.predicted.to_arrays(),
        "score": found.scored.to_arrays(),
        "relabel": record_of(found.masks, found.result, labels),
    }
    assert set(in_memory["predict"]) == {"labels", "size", *["votes"] * ("vote" in options)}
    for stage, arrays in in_memory.items():
        assert set(arrays) == set(records[stage])
        for key, value in arrays.items():
            kept = records[stage][key]
            assert np.asarray(value).dtype == kept.dtype and np.array_equal(value, kept), key

    sample = align(
        path, logits(), toy.taxonomy(root), proposer=proposer,
        scorer=dict(type="ToyScorer", table=toy.TABLE, input_size=8), device="cpu",
        **{**toy.OPTIONS, **options},
    )  # fmt: skip
    written = {
        kind: np.asarray(Image.open(tmp_path / "out" / kind / f"{NAME}.png"))
        for kind in ("labels", "confidence")
    }
    assert np.array_equal(sample.pred_sem_seg.data[0].numpy(), written["labels"])
    assert np.array_equal((sample.confidence.data[0] * 255).round(), written["confidence"])
    assert np.array_equal(written["labels"], labels) and len(np.unique(labels)) > 1
    assert np.array_equal(sample.regions.source_labels, records["score"]["majority"])
    assert np.array_equal(sample.regions.labels, records["relabel"]["ids"])
    assert np.array_equal(sample.regions.scores, records["relabel"]["p"])


def test_soft_votes_and_regions_of_the_prediction_wait_for_each_other(tmp_path):
    image = toy.picture(*toy.COLORS.values())
    with pytest.raises(UserError, match="Soft votes read regions during the prediction"):
        align(
            image, logits(), toy.taxonomy(tmp_path), proposer=LABELS_FIRST,
            scorer=dict(type="ToyScorer", table=toy.TABLE, input_size=8), device="cpu",
            **toy.OPTIONS, vote="soft",
        )  # fmt: skip
