# DynAlign's labels for the training images of Mapillary Vistas v1.2: what retraining learns from.
_base_ = ["./gta2mapillary_dynalign.py"]
data = dict(_delete_=True, train=dict(type="Mapillary", split="train"))
