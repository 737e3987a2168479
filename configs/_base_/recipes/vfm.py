# Optimizer and learning rate of VFM-UDA (arXiv:2406.09896), in place of the default recipe's.
# Published: 2 images of each domain on each of 4 GPUs; the rate is 5e-5 · √8. Weight decay on
# everything. VFM-UDA++ (arXiv:2503.10685): decay 0.9.
adamw_vfm = dict(
    _delete_=True,
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="AdamW", lr=1.4142136e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(layer_decay=dict(multiplier=0.1, decay=1.0)),
)
# The factor rises to 1 at step 1499 and jumps to 0.9625 at step 1500, as published.
warmup_linear = [dict(type="WarmupLinear", warmup=1500, start=1e-3, total=40000)]
