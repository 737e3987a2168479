"""Configs of mmsegmentation 0.x as DAFormer's line releases them beside its checkpoints."""

import copy

NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


def test_pipeline(size=(1024, 512)):
    return [
        dict(type="LoadImageFromFile"),
        dict(
            type="MultiScaleFlipAug",
            img_scale=list(size),
            flip=False,
            transforms=[
                dict(type="Resize", keep_ratio=True),
                dict(type="RandomFlip"),
                dict(type="Normalize", **NORM),
                dict(type="ImageToTensor", keys=["img"]),
                dict(type="Collect", keys=["img"]),
            ],
        ),
    ]


def cityscapes(root, size=(1024, 512)):
    return dict(
        type="CityscapesDataset",
        data_root=str(root),
        img_dir="leftImg8bit/val",
        ann_dir="gtFine/val",
        pipeline=test_pipeline(size),
    )


def legacy(net):
    """The network under the names of HRDA's first release."""
    net = copy.deepcopy(net)
    if net["type"] == "HRDAEncoderDecoder":
        net["type"] = "MultiResEncoderDecoder"
        net["decode_head"].update(type="MultiResAttentionWrapper", single_scale_head="UniHead")
        net["decode_head"].update(enable_hr_crop=True, debug_output_attention=False)
    elif net["decode_head"]["type"] == "DAFormerHead":
        net["decode_head"]["type"] = "UniHead"
    fusion = net["decode_head"].get("decoder_params", {}).get("fusion_cfg")
    if fusion is not None:
        fusion["fusion"] = "aspp"
    net["pretrained"] = "pretrained/mit_b5.pth"
    net["backbone"]["ema_drop_path_rate"] = 0
    return net


def dump(net, root, size=(1024, 512), **changes):
    """A whole dump of a self-training: network, data and how it was trained."""
    pipeline = test_pipeline(size)
    train = [dict(type="LoadImageFromFile"), dict(type="RandomCrop", crop_size=[512, 512])]
    return dict(
        log_config=dict(interval=50, hooks=[dict(type="TextLoggerHook", by_epoch=False)]),
        dist_params=dict(backend="nccl"),
        log_level="INFO",
        load_from=None,
        resume_from=None,
        workflow=[["train", 1]],
        cudnn_benchmark=True,
        norm_cfg=dict(type="BN", requires_grad=True),
        find_unused_parameters=True,
        model=net,
        dataset_type="CityscapesDataset",
        data_root=str(root),
        img_norm_cfg=NORM,
        crop_size=[512, 512],
        gta_train_pipeline=train,
        test_pipeline=pipeline,
        data=dict(
            samples_per_gpu=2,
            workers_per_gpu=0,
            train=dict(
                type="UDADataset",
                source=dict(type="GTADataset", data_root="data/gta/", pipeline=train),
                target=dict(type="CityscapesDataset", pipeline=train),
                rare_class_sampling=dict(min_pixels=3000, class_temp=0.01),
            ),
            val=cityscapes(root, size),
            test=cityscapes(root, size),
        ),
        uda=dict(type="DACS", alpha=0.999, imnet_feature_dist_lambda=0.005),
        use_ddp_wrapper=True,
        optimizer=dict(type="AdamW", lr=6e-05),
        optimizer_config=None,
        lr_config=dict(policy="poly", warmup="linear", warmup_iters=1500),
        seed=1,
        n_gpus=1,
        runner=dict(type="IterBasedRunner", max_iters=40000),
        checkpoint_config=dict(by_epoch=False, interval=40000),
        evaluation=dict(interval=4000, metric="mIoU"),
        name="gtaHR2csHR_hrda",
        work_dir="work_dirs/local-exp",
        git_rev="",
        **changes,
    )
