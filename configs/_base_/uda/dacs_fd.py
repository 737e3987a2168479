# DACS with DAFormer's feature distance on all cells (ablation).
_base_ = ["./dacs.py"]
uda = dict(
    feature_distance=dict(type="FeatureDistance", loss_weight=0.005, classes=None, min_ratio=0.75),
)
