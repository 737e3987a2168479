# MIC on HRDA (Hoyer et al., CVPR 2023, arXiv 2212.01322).
# Cityscapes → Dark Zurich. Published: 60.2 mIoU on the test server.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_cityscapesHR_to_darkzurichHR_1024x1024.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm.py",
    "../_base_/uda/dacs_a999_fdthings.py",
]
randomness = dict(seed=0)
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
    ),
)
uda = dict(
    masking=dict(
        type="MaskedConsistency",
        mode="separate",  # one masked source and one masked target image; batch size 2
        mask_ratio=0.7,
        block_size=64,
        loss_weight=1,
        alpha="same",  # the teacher is the host's
        pseudo_threshold="same",
    ),
)
