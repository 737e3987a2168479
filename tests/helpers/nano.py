"""A tiny segmentor, random batches and an optimizer: what tests of training steps need."""

import copy

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_uda.engine import ReferenceNameConstructor

NORM = dict(type="BN", requires_grad=True)
MLP = dict(type="mlp", act_cfg=None, norm_cfg=None)
CONV = dict(type="conv", kernel_size=1, act_cfg=dict(type="ReLU"), norm_cfg=NORM)


def nano_config(num_classes=5, dropout=0.0, size=(32, 32)):
    """Config of a segmentor of about 20 000 parameters."""
    return dict(
        type="SlideEncoderDecoder",
        data_preprocessor=dict(
            type="DomainDataPreProcessor",
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            size=size,
        ),
        backbone=dict(type="NanoBackbone", channels=(8, 12, 16, 24), norm_cfg=NORM),
        decode_head=dict(
            type="DAFormerHead",
            in_channels=[8, 12, 16, 24],
            in_index=[0, 1, 2, 3],
            channels=16,
            num_classes=num_classes,
            dropout_ratio=dropout,
            norm_cfg=NORM,
            decoder_params=dict(embed_dims=16, embed_cfg=MLP, embed_neck_cfg=MLP, fusion_cfg=CONV),
            loss_decode=dict(type="PixelCrossEntropy"),
        ),
        test_cfg=dict(mode="whole"),
    )


def nano_hrda_config(num_classes=5, size=(64, 64)):
    """The same network inside HRDA."""
    cfg = nano_config(num_classes, size=size)
    cfg.update(
        type="HRDAEncoderDecoder",
        scales=[1, 0.5],
        hr_crop_size=(32, 32),
        feature_scale=0.5,
        crop_coord_divisible=8,
        hr_slide_inference=True,
    )
    cfg["decode_head"].update(
        type="HRDAHead",
        single_scale_head="DAFormerHead",
        attention_classwise=True,
        hr_loss_weight=0.1,
    )
    return cfg


def random_batch(seed=0, batch=2, size=(32, 32), num_classes=5, valid=None):
    """A collated pair batch with blocky labels and some unlabelled pixels."""
    generator = torch.Generator().manual_seed(seed)
    # From 64 pixels on a label block fills a cell of the coarsest features.
    block = 32 if min(size) >= 64 else 8

    def part(with_label):
        inputs, samples = [], []
        for i in range(batch):
            inputs.append(torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8))
            sample = SegDataSample(metainfo=dict(img_path=f"{seed}_{i}.png", img_shape=size))
            if with_label:
                cells = torch.randint(
                    0, num_classes + 1, (size[0] // block, size[1] // block), generator=generator
                )
                cells[cells == num_classes] = 255
                label = cells.repeat_interleave(block, 0).repeat_interleave(block, 1)
                sample.gt_sem_seg = PixelData(data=label[None])
            elif valid is not None:
                sample.valid_mask = PixelData(data=valid[None])
            samples.append(sample)
        return dict(inputs=inputs, data_samples=samples)

    return dict(source=part(True), target=part(False))


def optimizer(trainer, lr=1e-3, **options):
    """AdamW behind our wrapper."""
    return ReferenceNameConstructor(
        dict(optimizer=dict(type="AdamW", lr=lr, weight_decay=0.01), **options)
    )(trainer)


def gradients(trainer, run):
    """Gradient of every student parameter after ``run`` has back-propagated."""
    trainer.model.zero_grad()
    run()
    return {name: copy.deepcopy(p.grad) for name, p in trainer.model.named_parameters()}
