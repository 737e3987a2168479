# AdamW for Mask2Former: the encoder at half the rate, gradients clipped as one vector.
optim_wrapper = dict(
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.5)}),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
