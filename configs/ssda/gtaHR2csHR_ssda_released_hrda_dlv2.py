# SSDA (IEEE TMM 2024, doi 10.1109/TMM.2024.3355629) as released, on HRDA with DeepLabV2.
# GTA → Cityscapes. Published: 64.4 mIoU (one checkpoint, this seed). What the released code runs,
# its mistakes included; see the uda base file. Experiment 411, row 2.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/hrda1_dlv2red_r101v1c.py",
    "../_base_/datasets/uda_gtaHR_to_cityscapesHR_1024x1024.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm.py",
    "../_base_/uda/dacs_a999_fdthings_ssda_released.py",
]
randomness = dict(seed=1)
model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    hr_crop_size=(512, 512),  # detail crop inside the context crop
    crop_coord_divisible=8,  # of the released config; 16 aligns both of DeepLabV2's grids
    decode_head=dict(
        hr_loss_weight=0.1,
    ),
    test_cfg=dict(_delete_=True, mode="whole"),
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
