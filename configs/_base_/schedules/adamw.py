# AdamW with the decoder's learning rate × 10 and no weight decay on LayerNorms. Keys match the
# reference's parameter names, so that the four stage norms of MiT are among them.
optim_wrapper = dict(
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={"head": dict(lr_mult=10.0), "norm": dict(decay_mult=0.0)},
    ),
)
