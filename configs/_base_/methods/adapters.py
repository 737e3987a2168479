# Small trained parts of a frozen encoder.
# SoMA (Yun et al., CVPR 2025): the 16 weakest singular components of blocks 8 to 23, and biases.
soma = dict(trainable="adapters", adapter=dict(type="soma"))
# Rein (Wei et al., CVPR 2024): 100 tokens per block, which are Mask2Former's queries, too.
rein = dict(trainable="adapters", adapter=dict(type="rein"))
# SoMA evaluates a moving average of the weights, which begins later with Cityscapes as the source.
averaged = dict(type="Supervised", ema=dict(momentum=2e-4, begin=12000))
averaged_late = dict(averaged, ema=dict(momentum=2e-4, begin=20000))
