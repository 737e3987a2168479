# DeepLabV2 (arXiv:1606.00915) on ResNet-101-V1c.
_base_ = ["./dlv2red_r101v1c.py"]
model = dict(decode_head=dict(dilations=(6, 12, 18, 24)))
