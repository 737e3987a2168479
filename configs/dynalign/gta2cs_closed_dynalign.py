# DynAlign's closed-set control: HRDA's 19 classes (GTA → Cityscapes) among themselves.
_base_ = ["../_base_/recipes/alignment.py"]
alignment = dict(taxonomy="cityscapes_closed")
data = dict(evaluate=dict(type="Cityscapes", split="val"))
