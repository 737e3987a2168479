# SSDA (IEEE TMM 2024, doi 10.1109/TMM.2024.3355629) on DAFormer.
# GTA → Cityscapes. No published number is known: the released code runs on HRDA only. The
# uncertainty compares 8 passes with the dropout of DAFormer's decoder (0.1).
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_gta_to_cityscapes_512x512.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm.py",
    "../_base_/uda/dacs_a999_fdthings_ssda.py",
]
randomness = dict(seed=0)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        rare_class_sampling=dict(
            min_pixels=3000,  # of a class, at native resolution
            class_temp=0.01,
            min_crop_ratio=0.5,  # of min_pixels in a crop
        ),
    ),
)
uda = dict(
    # Crop rows without pseudo-labels: rectification border and ego car.
    pseudo_weight_ignore_top=15,
    pseudo_weight_ignore_bottom=120,
)
