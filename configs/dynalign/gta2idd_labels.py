# DynAlign's labels for the training images of IDD (level 3): what retraining learns from.
_base_ = ["./gta2idd_dynalign.py"]
data = dict(_delete_=True, train=dict(type="IDD", split="train"))
