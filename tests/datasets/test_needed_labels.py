"""Pipelines that look at a label which none of their transforms has loaded."""

import pytest
import torch
from mmseg.registry import TRANSFORMS
from nano import random_batch
from torch import nn
from two_classes import World

from mmseg_uda.datasets import DomainPairDataset
from mmseg_uda.engine.records import source_batch
from mmseg_uda.errors import UserError

CROP = dict(type="CropFields", crop_size=(8, 8))
WITHOUT = [dict(type="LoadFrame"), CROP, dict(type="PackFields")]


@TRANSFORMS.register_module(force=True)
class LooksAtLabel:
    """A transform of the user's, of which nothing is known before it runs."""

    def __call__(self, results):
        results["gt_seg_map"].max()
        return results


@pytest.mark.parametrize(
    ("sampling", "step"),
    [(dict(min_pixels=1), None), (dict(min_pixels=1), "LooksAtLabel"), (None, "LooksAtLabel")],
)
def test_the_data_set_is_named(tmp_path, sampling, step):
    world = World(tmp_path)
    pipeline = [WITHOUT[0], dict(type=step), *WITHOUT[1:]] if step else WITHOUT
    source = world.data("src", pipeline=pipeline)
    pairs = DomainPairDataset(source, world.data("tgt"), rare_class_sampling=sampling)
    with pytest.raises(UserError, match="src/images.*does not load them") as error:
        pairs[0, 0]
    assert "LoadTrainIds" in error.value.fix


def test_a_batch_without_labels():
    raw = random_batch(0, batch=1)["source"]
    for sample in raw["data_samples"]:
        del sample.gt_sem_seg
        sample.set_metainfo(dict(img_path="a/b.png"))

    class Keep(nn.Module):
        def forward(self, data, training):
            return {"inputs": torch.stack(list(data["inputs"])), **data}

    with pytest.raises(UserError, match="have no label, the first is a/b.png"):
        source_batch(raw, Keep())
