"""A tiny GTA and Cityscapes on disk, and a training on them."""

import numpy as np
import pytest
from child import end_of, start_command
from fixed_run import config
from nano import nano_config
from tiny_data import write_image, write_label

SIZE = (64, 64)
FRAMES = 6


def pipeline(labels):
    return [
        dict(type="LoadFrame"),
        *([dict(type="LoadTrainIds")] if labels else []),
        dict(type="CropFields", crop_size=SIZE, **(dict(cat_max_ratio=0.75) if labels else {})),
        dict(type="FlipFields"),
        dict(type="PackFields"),
    ]


class World:
    """Frames of 64×96 pixels: label 0 on the left, ``right`` on the right."""

    def __init__(self, root, right=8):
        self.gta, self.cityscapes = root / "gta", root / "cityscapes"
        label = np.zeros((64, 96), np.uint8)
        label[:, 48:] = right
        for i in range(FRAMES):
            write_image(self.source_image(i), 64, 96, seed=i)
            write_label(self.source_label(i), label)
            for split in ("train", "val"):
                write_image(self.target_image(i, split), 64, 96, seed=100 + i)
            name = f"gtFine/val/ulm/ulm_{i:06d}_000019_gtFine_labelTrainIds.png"
            write_label(self.cityscapes / name, label)

    def source_image(self, i):
        return self.gta / f"images/{i:05d}.png"

    def source_label(self, i):
        return self.gta / f"labels/{i:05d}_labelTrainIds.png"

    def target_image(self, i, split="train"):
        return self.cityscapes / f"leftImg8bit/{split}/ulm/ulm_{i:06d}_000019_leftImg8bit.png"

    def config(self, work_dir, steps=FRAMES, batch_size=1, **changes):
        """Every pair of the frames once, in order unless ``changes`` say so."""
        source = dict(type="GTA", data_root=str(self.gta), pipeline=pipeline(True))
        target = dict(
            type="Cityscapes",
            data_root=str(self.cityscapes),
            images_only=True,
            pipeline=pipeline(False),
        )
        cfg = config(
            work_dir,
            steps,
            model=nano_config(num_classes=19, size=SIZE),
            train_dataloader=dict(
                _delete_=True,
                batch_size=batch_size,
                num_workers=0,
                dataset=dict(type="DomainPairDataset", source=source, target=target),
                sampler=dict(type="PairSampler", shuffle=False),
            ),
        )
        cfg.merge_from_dict(changes)
        return cfg

    def validation(self):
        """Changes that validate on the labelled frames at the end."""
        dataset = dict(
            type="Cityscapes",
            data_root=str(self.cityscapes),
            split="val",
            pipeline=[
                dict(type="LoadFrame"),
                dict(type="LoadTrainIds"),
                dict(type="PackFields"),
            ],
        )
        return {
            "val_dataloader": dict(
                batch_size=1,
                num_workers=0,
                dataset=dataset,
                sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
            ),
            "val_cfg": dict(type="ValLoop"),
            "val_evaluator": dict(type="StreamingIoU"),
        }


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "data")


@pytest.fixture
def command(capfd):
    """Runs a tool; returns its exit status and what it printed, which is no traceback."""

    def call(script, *arguments, seconds=60, **how):
        status = end_of(start_command(script, *arguments, **how), seconds)
        printed = capfd.readouterr()
        output = printed.out + printed.err
        assert "Traceback" not in output
        return status, output

    return call
