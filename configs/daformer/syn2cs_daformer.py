# DAFormer (Hoyer et al., CVPR 2022, arXiv 2111.14887).
# SYNTHIA → Cityscapes. Published: 60.9 mIoU over 16 classes.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_synthia_to_cityscapes_512x512.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm.py",
    "../_base_/uda/dacs_a999_fdthings.py",
]
randomness = dict(seed=0)
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
)
