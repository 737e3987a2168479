"""A tiny two-class data set, and what the start of a training says about it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmseg_uda.findings import Level
from mmseg_uda.inspection import inspect_start

TAXONOMY = """
name: two
classes:
  - {name: ground, color: [128, 64, 128], group: flat, prompts: [ground]}
  - {name: box, color: [0, 0, 142], group: object, prompts: [box]}
"""
SIZE = (12, 20)
LOAD = [dict(type=name) for name in ("LoadFrame", "LoadTrainIds", "PackFields")]


def label_of(number):
    """Ground with a box whose place depends on the number."""
    label = np.zeros(SIZE, np.uint8)
    label[2:6, number : number + 5] = 1
    return label


class World:
    """A labelled source of six images, three target images, three labelled validation images."""

    def __init__(self, root):
        self.root = root
        (root / "two.yaml").write_text(TAXONOMY)
        for part, count in (("src", 6), ("tgt", 3), ("val", 3)):
            for number in range(count):
                pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), np.uint8)
                self.image(part, number, pixels)
                if part != "tgt":
                    self.label(part, number, label_of(number))

    def path(self, part, kind, number, suffix=".png"):
        return self.root / part / kind / f"{number}{suffix}"

    def image(self, part, number, pixels, **save):
        self._write(self.path(part, "images", number), pixels, save)

    def label(self, part, number, ids, **save):
        self._write(self.path(part, "labels", number), ids, save)

    def labels(self, part, change):
        """Replaces every label by ``change(ids)``."""
        for path in sorted((self.root / part / "labels").glob("*.png")):
            self._write(path, change(np.asarray(Image.open(path))), {})

    @staticmethod
    def _write(path, pixels, save):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(path, **save)

    def data(self, part, **options):
        item = dict(
            type="TaxonomyDataset",
            data_root=str(self.root),
            img_dir=f"{part}/images",
            taxonomy=str(self.root / "two.yaml"),
            pipeline=[dict(step) for step in LOAD],
        )
        if part != "tgt":
            return {**item, "label_dir": f"{part}/labels", **options}
        return {**item, "images_only": True, "pipeline": [LOAD[0], LOAD[2]], **options}

    def config(self, source=None, target=None, val=None, **pair):
        return dict(
            model=dict(type="EncoderDecoder", decode_head=dict(type="FCNHead", num_classes=2)),
            uda=dict(type="SelfTraining", taxonomy=str(self.root / "two.yaml")),
            train_dataloader=dict(
                sampler=dict(type="PairSampler"),
                dataset=dict(
                    type="DomainPairDataset",
                    source=self.data("src", **(source or {})),
                    target=self.data("tgt", **(target or {})),
                    **pair,
                ),
            ),
            val_dataloader=dict(dataset=self.data("val", **(val or {}))),
            val_evaluator=dict(type="StreamingIoU", taxonomy=str(self.root / "two.yaml")),
        )

    def told(self, config=None, **options):
        """(level, message and fix) of every warning and problem."""
        findings = inspect_start([config or self.config(**options)])
        wanted = (Level.WARNING, Level.PROBLEM)
        return [(f.level, str(f)) for f in findings if f.level in wanted]

    def only(self, level, *parts, **options):
        """Asserts that there is one finding, of this level and with these parts."""
        found = self.told(**options)
        assert [one for one, _ in found] == [level], found
        for part in parts:
            assert part in found[0][1]
