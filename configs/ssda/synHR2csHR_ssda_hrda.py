# SSDA (IEEE TMM 2024, doi 10.1109/TMM.2024.3355629) on HRDA.
# SYNTHIA → Cityscapes. No published number is known.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_synthiaHR_to_cityscapesHR_1024x1024.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm.py",
    "../_base_/uda/dacs_a999_fdthings_ssda.py",
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
        # No pseudo-labels on rectification borders and ego car: top, bottom, left, right.
        target=dict(crop_pseudo_margins=[30, 240, 30, 30]),
    ),
)
uda = dict(
    subdomains=dict(
        class_prior="source_stats",  # SYNTHIA's own; it lacks terrain, truck and train
    ),
)
