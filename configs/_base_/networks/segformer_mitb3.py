# SegFormer with the wide all-MLP decoder, on MiT-B3.
_base_ = ["./segformer_mitb5.py"]
model = dict(
    backbone=dict(variant="b3", init_cfg=dict(type="BackboneWeights", checkpoint="mit_b3"))
)
