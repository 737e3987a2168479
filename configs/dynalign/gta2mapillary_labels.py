# DynAlign's labels for the training images of Mapillary Vistas v1.2: what retraining learns from.
_base_ = ["../_base_/recipes/alignment.py"]
alignment = dict(taxonomy="mapillary_v5")
data = dict(train=dict(type="Mapillary"))
