# SegFormer with the wide all-MLP decoder, on MiT-B4.
_base_ = ["./segformer_mitb5.py"]
model = dict(
    backbone=dict(variant="b4", init_cfg=dict(type="BackboneWeights", checkpoint="mit_b4"))
)
