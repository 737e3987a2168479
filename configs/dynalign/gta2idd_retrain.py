# Retraining HRDA on DynAlign's labels of IDD (level 3); a recipe of ours, since the
# original's is not released. Published numbers: not available.
# First: python tools/align.py configs/dynalign/gta2idd_labels.py
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/methods/dynalign.py",
]
model = dict(decode_head=dict(num_classes=26))
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _base_.aligned,
            images=dict(type="IDD"),
            results="work_dirs/gta2idd_labels/train",
            taxonomy_map="idd_v5",
        )
    )
)
val_dataloader = test_dataloader = dict(
    dataset=dict(_base_.validated, type="IDD", taxonomy="idd26")
)
val_evaluator = test_evaluator = dict(type="AlignmentIoU", taxonomy_map="idd_v5")
uda = dict(_base_.retraining, taxonomy_map="idd_v5")
