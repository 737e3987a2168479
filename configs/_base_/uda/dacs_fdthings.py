# DACS with DAFormer's thing-class feature distance.
_base_ = ["./dacs.py"]
uda = dict(
    feature_distance=dict(
        type="FeatureDistance",
        loss_weight=0.005,
        classes=[6, 7, 11, 12, 13, 14, 15, 16, 17, 18],  # traffic light, sign, person … bicycle
        min_ratio=0.75,
    ),
)
