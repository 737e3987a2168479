# Optimizers and learning rates of domain generalization, in place of the default recipe's.
# SGD of the baselines: one rate for the whole network.
sgd = dict(
    _delete_=True,
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
)
# SGD of SRHA: the decoder's rate is 0.01, the encoder's half of it; weight decay on everything.
sgd_srha = dict(sgd, paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.5)}))
# AdamW for Mask2Former: the encoder at half the rate, gradients clipped as one vector.
adamw_m2f = dict(
    _delete_=True,
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.5)}),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)


# lr(t) = base (1 - t / T)^0.9, without a warm-up; validated ten times.
# mmengine's schedulers reach their end at end - 1.
def poly09(steps):
    return [dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=steps + 1)]


poly09_40k = poly09(40000)  # as long as the default recipe
poly09_60k, loop_60k = poly09(60000), dict(max_iters=60000, val_interval=6000)
poly09_120k, loop_120k = poly09(120000), dict(max_iters=120000, val_interval=12000)
