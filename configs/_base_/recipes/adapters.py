# Optimizers and learning rates of Rein (arXiv:2312.04265) and SoMA (arXiv:2412.04077) under
# Mask2Former, in place of the default recipe's. lr(t) = base (1 - t / 39999)^0.9.
no_decay = dict(decay_mult=0.0)
# Mask2Former's embeddings have no weight decay, nor have norms.
mask2former = {
    "queries_embedder": no_decay,
    "queries_features": no_decay,
    "level_embed": no_decay,
}
adamw_m2f = dict(
    _delete_=True,
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys=mask2former, norm_decay_mult=0.0),
)
adamw_rein = dict(
    adamw_m2f,
    paramwise_cfg=dict(
        custom_keys={**mask2former, "learnable_tokens": no_decay, "rein.scale": no_decay},
        norm_decay_mult=0.0,
    ),
)
# SoMA and LoRA: the encoder's rate is half the decoder's.
adamw_soma = dict(
    adamw_m2f,
    paramwise_cfg=dict(
        custom_keys={**mask2former, "backbone": dict(lr_mult=0.5)}, norm_decay_mult=0.0
    ),
)
# The whole encoder at a hundredth; its norms, layer scales, positions and patches stay as they are,
# as in SoMA's code.
fixed = dict(lr_mult=0.0)
adamw_full = dict(
    adamw_m2f,
    paramwise_cfg=dict(
        layer_decay=dict(multiplier=0.01, decay=1.0),
        custom_keys={
            **mask2former,
            **dict.fromkeys(("pos_embed", "patch_embed", "norm1", "norm2", "ls1", "ls2"), fixed),
            "backbone.norm": fixed,
        },
        norm_decay_mult=0.0,
    ),
)
poly = dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=40000)
# SoMA: weight decay falls to 1e-5; that of embeddings and norms, 0 at first, rises to it.
annealed_decay = dict(
    type="CosineAnnealingParamScheduler",
    param_name="weight_decay",
    eta_min=1e-5,
    by_epoch=False,
    begin=0,
    end=40000,
)
poly09 = [poly]
poly09_annealed = [poly, annealed_decay]


# With a linear warm-up before the curve (SoMA on Cityscapes).
def warmed_up(start_factor, steps):
    warm_up = dict(type="LinearLR", start_factor=start_factor, by_epoch=False, begin=0, end=steps)
    return [warm_up, dict(poly, begin=steps), annealed_decay]


warm_up_1500 = warmed_up(1e-2, 1500)
warm_up_10000 = warmed_up(1e-6, 10000)
