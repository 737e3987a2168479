# The name that the experiments use for the reduced DeepLabV2.
_base_ = ["./deeplabv2red_r101v1c.py"]
