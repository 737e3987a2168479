"""A nano segmentor as a training leaves it behind: config, checkpoint, and frames to test it on."""

import copy

import numpy as np
import torch
from mmseg.registry import MODELS
from nano import nano_config, nano_hrda_config
from runtime import runtime
from tiny_data import write_image, write_label

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.testing import test_config as segmentor_config

SLIDE = dict(mode="slide", crop_size=(64, 64), stride=(32, 32), batched_slide=True)


def write_frames(root, count=3):
    """A Cityscapes with validation frames of 80 x 40."""
    for i in range(count):
        name = f"ulm/ulm_{i:06d}_000019"
        write_image(root / f"leftImg8bit/val/{name}_leftImg8bit.png", 40, 80, seed=i)
        label = np.tile(np.arange(80) // 5 % 19, (40, 1))
        write_label(root / f"gtFine/val/{name}_gtFine_labelTrainIds.png", label)
    return root


def trained_config(kind, frames, **changes):
    """Config of a training that is evaluated on ``frames``; ``kind`` is daformer or hrda."""
    cfg = runtime()
    model = nano_config(19) if kind == "daformer" else nano_hrda_config(19)
    if kind == "hrda":
        model["test_cfg"] = dict(SLIDE)
    pipeline = [
        dict(type="LoadFrame"),
        dict(type="ResizeFields", scale=(192, 96)),
        dict(type="LoadTrainIds"),
        dict(type="PackFields"),
    ]
    loader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
        dataset=dict(
            type="Cityscapes",
            data_root=str(frames),
            split="val",
            test_mode=True,
            pipeline=pipeline,
        ),
    )
    cfg.merge_from_dict(
        dict(
            model=model,
            uda=dict(type="SelfTraining"),
            test_pipeline=copy.deepcopy(pipeline),
            test_dataloader=loader,
            test_evaluator=dict(type="StreamingIoU"),
            test_cfg=dict(type="TestLoop"),
            log_level="ERROR",
            **changes,
        )
    )
    return cfg


def save_trained(cfg, path):
    """Write a checkpoint with student and teacher that tell classes apart."""
    state = {}
    for seed, part in enumerate(("model", "ema_model")):
        torch.manual_seed(seed)
        network = MODELS.build(segmentor_config(cfg).model)
        network.init_weights()
        for name, value in network.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif "conv_seg" in name:
                value.normal_(0, 1)
            state[f"{part}.{name}"] = value
    meta = dict(cfg=cfg.pretty_text, iter=7, format_version=1)
    torch.save(dict(meta=meta, state_dict=state), path)
