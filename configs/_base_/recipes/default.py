# What a training has unless its config says otherwise: hooks and loaders, and the recipe of
# DAFormer (Hoyer et al., CVPR 2022), which HRDA, MIC and the methods on them keep.
custom_imports = dict(imports=["mmseg_uda.register_all"], allow_failed_imports=False)
default_scope = "mmseg"
runner_type = "AdaptationRunner"
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    # Seconds that processes wait for each other: the first one counts classes or builds banks.
    dist_cfg=dict(backend="nccl", timeout=7200),
)
randomness = dict(seed=0)
# Without a name of its own: one name is one visualizer for all runs of a process.
visualizer = dict(type="SegLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")])
log_processor = dict(by_epoch=False, window_size=1)
log_level = "INFO"
load_from = None
resume = False
default_hooks = dict(
    runtime_info=dict(type="DeferredScalarsHook"),
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    # One checkpoint in reserve: if the newest is damaged, the run resumes from the other.
    checkpoint=dict(type="SafeCheckpointHook", interval=2000, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="PredictionPicturesHook", interval=0),
    examples=dict(type="ExamplePicturesHook", count=4),
    debug_panels=dict(type="DebugPanelsHook", interval=0),
    job_files=dict(type="JobFilesHook", interval=50),
    plain_checkpoint=dict(type="PlainCheckpointHook"),
)

train_dataloader = dict(
    batch_size=2,  # source images, and as many of the target
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="PairSampler"),
    dataset=dict(type="DomainPairDataset"),
)
val_dataloader = test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
)
val_evaluator = test_evaluator = dict(type="StreamingIoU")
# For test images whose labels are on a server: predictions are written, not evaluated.
# tools/test.py ... --out DIR names the folder to upload.
predictions_only = dict(format_only=True, output_dir=None)

# AdamW with the decoder's learning rate × 10 and no weight decay on LayerNorms. Keys match the
# reference's parameter names, so that the four stage norms of MiT are among them.
optim_wrapper = dict(
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={"head": dict(lr_mult=10.0), "norm": dict(decay_mult=0.0)},
    ),
)
# 40 000 iterations; the warm-up multiplies the decayed rate: peak 0.9625 × base.
# lr(t) = base (1 - t / 40000) · min(1, 1e-6 + (1 - 1e-6) t / 1500).
# mmengine's schedulers reach their end at end - 1, hence 1501 and 40001.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1501),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=40001),
]
# Without the warm-up (DAFormer, Table 4). The original's floor of 1e-4 exceeds the base rate of the
# encoder, which then rises; the floor here is 0.
poly10 = param_scheduler[1:]
train_cfg = dict(type="TrainLoop", max_iters=40000, val_interval=4000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

# Rare class sampling at half and at native resolution (DAFormer, Sec. 3.3; HRDA).
rcs = dict(
    min_pixels=3000,  # of a class, at native resolution
    class_temp=0.01,
    min_crop_ratio=0.5,  # share of min_pixels that a crop must show
)
rcsHR = dict(rcs, min_crop_ratio=2.0)  # a crop has 4 times the pixels

# DACS (Tranheden et al., WACV 2021) as DAFormer's code base runs it.
dacs = dict(
    type="SelfTraining",
    alpha=0.99,
    pseudo_threshold=0.968,
    jitter_probability=0.8,  # effective; the published configs give the complement, 0.2
    jitter_strength=0.2,
    blur_probability=0.5,
)
# The self-training of HRDA (ECCV 2022), and of MIC on it.
hrda = dict(
    dacs,
    alpha=0.999,
    feature_distance=dict(
        type="FeatureDistance",
        loss_weight=0.005,
        classes=[6, 7, 11, 12, 13, 14, 15, 16, 17, 18],  # traffic light, sign, person … bicycle
        min_ratio=0.75,
    ),
)
# DAFormer's. Crop rows without pseudo-labels: rectification border and ego car of Cityscapes.
daformer = dict(hrda, pseudo_weight_ignore_top=15, pseudo_weight_ignore_bottom=120)
# The labelled domain alone: in the self-training host (for supervised MIC), and plainly.
source_only = dict(dacs, source_only=True)
supervised = dict(type="Supervised")
