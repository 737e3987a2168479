# CDDA (2025, no paper known; values of its repository) on DAFormer.
# SYNTHIA → Cityscapes. Published: 63.2 mIoU over 16 classes (best of 40 checkpoints, one seed).
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_synthia_to_cityscapes_512x512_depth.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm.py",
    "../_base_/uda/dacs_a999_fdthings.py",
]
randomness = dict(seed=0)
# Validated every 1000 steps; the weights of the best validation are kept beside the last ones.
train_cfg = dict(max_iters=40000, val_interval=1000)
default_hooks = dict(checkpoint=dict(save_best="mIoU", rule="greater"))
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        rare_class_sampling=dict(
            min_pixels=3000,  # of a class, at native resolution
            class_temp=0.01,
            min_crop_ratio=0.5,  # share of min_pixels that a crop must show
        ),
    ),
)
uda = dict(
    # Rows of the crop without pseudo-labels (rectification border, ego car of Cityscapes).
    pseudo_weight_ignore_top=15,
    pseudo_weight_ignore_bottom=120,
    depth=dict(
        type="DepthSimilarity",
        # Source crops that target images are compared with; drawn before the training if missing.
        bank="preprocessed/synthia_daformer",
        build=dict(count=9400, sampling="rcs", seed=0),
        # Scores above which pseudo-labels are reweighted and the source image is replaced, and
        # above which classes that the pseudo-label lacks guide the student.
        reweight_threshold=0.49,
        relabel_threshold=0.47,
        # Both fall by this every 1000 steps from step 10 000 to 39 000.
        threshold_decay=0.001,
        decay_begin=10000,
        decay_end=40000,
        decay_interval=1000,
        # The three uses of a match.
        reweight=True,
        replace_source=True,
        guidance=True,
        # As documented; the released code uses the first row's labels and the last missing class.
        reweight_mask="class",
        guidance_trigger="any",
    ),
)
