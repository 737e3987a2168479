"""A tiny encoder in stages with its decoders, and the trainer of SRHA around it."""

import torch
from fixed_run import config
from mmengine.config import ConfigDict
from nano import nano_config

from mmseg_uda.engine import ReferenceNameConstructor, build_runner
from mmseg_uda.methods.srha import SRHA


def staged_config(num_classes=5, size=(32, 32), **backbone):
    """Config of a segmentor with DeepLabV3+ and auxiliary head, some 100 000 parameters."""
    cfg = nano_config(num_classes, size=size)
    cfg.update(
        backbone=dict(
            dict(type="StagedBackbone", arch="resnet50", width=0.125, depth=0.25), **backbone
        ),
        decode_head=dict(
            type="DeepLabV3PlusHead",
            in_channels=[32, 256],
            channels=16,
            low_channels=8,
            num_classes=num_classes,
        ),
        auxiliary_head=dict(
            type="AuxiliaryFCNHead",
            in_channels=128,
            channels=16,
            num_classes=num_classes,
            dropout_ratio=0.1,
        ),
    )
    return cfg


def mask_config(num_classes=5, size=(32, 32)):
    """The same encoder with Mask2Former."""
    cfg = staged_config(num_classes, size)
    del cfg["auxiliary_head"]
    cfg["decode_head"] = dict(
        type="TorchMask2FormerHead",
        in_channels=[32, 64, 128, 256],
        channels=32,
        mask_channels=16,
        num_queries=8,
        encoder_layers=1,
        decoder_layers=2,
        num_heads=4,
        encoder_ffn=32,
        decoder_ffn=32,
        num_classes=num_classes,
        loss_decode=dict(num_points=64),
    )
    return cfg


def srha(segmentor=None, **options):
    """A trainer with the same initial weights at every call."""
    torch.manual_seed(0)
    trainer = SRHA(ConfigDict(segmentor or staged_config()), **options)
    trainer.init_weights()
    return trainer.train()


def sgd(trainer, lr=0.01, **options):
    """The optimizer of the published configs."""
    optimizer = dict(type="SGD", lr=lr, momentum=0.9, weight_decay=5e-4)
    paramwise = dict(custom_keys={"backbone": dict(lr_mult=0.5)})
    return ReferenceNameConstructor(dict(optimizer=optimizer, **options), paramwise)(trainer)


def srha_run(work_dir, steps, uda=None, changes=None):
    """Train through the runner."""
    cfg = config(work_dir, steps, **(changes or {}))
    cfg.model = staged_config()
    cfg.uda = dict(type="SRHA", **(uda or {}))
    build_runner(cfg).train()
