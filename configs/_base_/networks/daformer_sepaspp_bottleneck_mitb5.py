# DAFormer's decoder with context on the last encoder level alone, on MiT-B5.
_base_ = ["./daformer_sepaspp_mitb5.py"]
aspp = _base_.model.decode_head.decoder_params.fusion_cfg
model = dict(
    neck=dict(type="LevelUpsample", scales=[8]),
    decode_head=dict(
        decoder_params=dict(
            embed_neck_cfg=dict(aspp, type="rawconv_and_aspp", kernel_size=1),
            fusion_cfg=dict(
                _delete_=True,
                type="conv",
                kernel_size=1,
                act_cfg=dict(type="ReLU"),
                norm_cfg=_base_.norm_cfg,
            ),
        )
    ),
)
