# DynAlign's closed-set control: HRDA's 19 classes (GTA → Cityscapes) among themselves.
_base_ = ["./gta2mapillary_dynalign.py"]
alignment = dict(taxonomy="cityscapes_closed")
data = dict(_delete_=True, evaluate=dict(type="Cityscapes", split="val"))
