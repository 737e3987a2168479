# HRDA (arXiv:2204.13132) with DAFormer's decoder on MiT-B5, for crops of 1024x1024.
_base_ = ["./daformer_sepaspp_mitb5.py"]
model = dict(
    type="HRDAEncoderDecoder",
    scales=[1, 0.5],
    hr_crop_size=(512, 512),
    feature_scale=0.5,
    crop_coord_divisible=8,
    legacy_offset_range=False,  # True never draws the last position, as published runs did
    hr_slide_inference=True,
    data_preprocessor=dict(size=(1024, 1024)),
    decode_head=dict(
        type="HRDAHead",
        single_scale_head="DAFormerHead",
        attention_classwise=True,
        hr_loss_weight=0.1,
    ),
    test_cfg=dict(mode="slide", batched_slide=True, crop_size=(1024, 1024), stride=(512, 512)),
)
