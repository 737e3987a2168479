# The name that the experiments use for DeepLabV2.
_base_ = ["./deeplabv2_r101v1c.py"]
