# Retraining HRDA on DynAlign's labels of Mapillary Vistas v1.2; a recipe of ours, since the
# original's is not released. Published numbers: not available.
# First: python tools/align.py configs/dynalign/gta2mapillary_labels.py
# The taxonomy map is mapillary_v5, which data set, trainer and metric take by default.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/methods/dynalign.py",
]
model = dict(decode_head=dict(num_classes=66))
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _base_.aligned,
            images=dict(type="Mapillary"),
            results="work_dirs/gta2mapillary_labels/train",
        )
    )
)
val_dataloader = test_dataloader = dict(
    dataset=dict(_base_.validated, type="Mapillary", taxonomy="mapillary66")
)
val_evaluator = test_evaluator = dict(type="AlignmentIoU")
uda = _base_.retraining
