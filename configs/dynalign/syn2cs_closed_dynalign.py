# DynAlign's closed-set control: HRDA trained on SYNTHIA, which lacks terrain, truck and train.
_base_ = ["../_base_/recipes/alignment.py"]
alignment = dict(taxonomy="synthia_closed")
source = dict(config="configs/hrda/synHR2csHR_hrda.py", checkpoint="pretrained/hrda_synHR2csHR.pth")
data = dict(evaluate=dict(type="Cityscapes", split="val"))
