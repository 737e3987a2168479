# CDDA (2025, no paper known; values of its repository) on MIC on HRDA.
# SYNTHIA → Cityscapes. Published: 68.7 mIoU over 16 classes (best of 40 checkpoints, one seed).
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_synthiaHR_to_cityscapesHR_1024x1024_depth.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm.py",
    "../_base_/uda/dacs_a999_fdthings.py",
]
randomness = dict(seed=2)
# Validated every 1000 steps; the weights of the best validation are kept beside the last ones.
train_cfg = dict(max_iters=40000, val_interval=1000)
default_hooks = dict(checkpoint=dict(save_best="mIoU", rule="greater"))
model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    hr_crop_size=(512, 512),  # detail crop inside the context crop
    decode_head=dict(
        hr_loss_weight=0.1,
    ),
    test_cfg=dict(mode="slide", batched_slide=True, crop_size=(1024, 1024), stride=(512, 512)),
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        rare_class_sampling=dict(
            min_pixels=3000,  # of a class, at native resolution
            class_temp=0.01,
            min_crop_ratio=2.0,  # of min_pixels in a crop: 4 times the pixels of half resolution
        ),
        # No pseudo-labels on rectification borders and ego car: top, bottom, left, right.
        target=dict(crop_pseudo_margins=[30, 240, 30, 30]),
    ),
)
uda = dict(
    masking=dict(
        type="MaskedConsistency",
        mode="separatetrgaug",  # masked target images with colour augmentation
        mask_ratio=0.7,
        block_size=64,
        loss_weight=1,
        alpha="same",  # the teacher is the host's
        pseudo_threshold="same",
    ),
    depth=dict(
        type="DepthSimilarity",
        # Source crops that target images are compared with; drawn before the training if missing.
        bank="preprocessed/synthia_mic",
        build=dict(count=9400, sampling="rcs", seed=0),
        # Scores above which pseudo-labels are reweighted and the source image is replaced, and
        # above which classes that the pseudo-label lacks guide the student.
        reweight_threshold=0.49,
        relabel_threshold=0.47,
        # Both fall by this every 1000 steps from step 10 000 to 39 000.
        threshold_decay=0.002,
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
