# DynAlign's labels for the training images of IDD (level 3): what retraining learns from.
_base_ = ["../_base_/recipes/alignment.py"]
alignment = dict(taxonomy="idd_v5")
data = dict(train=dict(type="IDD"))
