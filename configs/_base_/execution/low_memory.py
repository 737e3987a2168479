# Training in less GPU memory, with any model, method and schedule. Name it beside a config:
#     _base_ = ["../gtaHR2csHR_mic_hrda.py", "../../_base_/execution/low_memory.py"]
# or take single entries: --cfg-options execution.recompute=backbone execution.amp=bf16
# The method stays the same; results differ by bf16's rounding.
execution = dict(
    # Activations of half the size. Weights, gradients, both averages of AdamW and everything that
    # decides (softmax, threshold, losses) stay float32. GPUs before Ampere (RTX 2080 Ti, V100)
    # have no bf16: use "fp16" there.
    amp="bf16",
    # Blocks of the encoder and whole decoders are computed again in the backward pass: what a
    # forward pass keeps shrinks to one block's input each. Costs about a fifth more arithmetic.
    # HRDA runs encoder and decoder on two scales before the one backward pass, hence both.
    recompute=["backbone", "decode_head"],
    # HRDA's teacher encodes 18 detail crops of 512 x 512 per step, here 4 at a time. MiT has no
    # BatchNorm, so the labels stay the same; an encoder that has sees them all at once in any
    # case. Without effect on other networks.
    batch_pixels=4 * 512 * 512,
    # The feature distance's ImageNet encoder only gives reference features: 163 MB less for
    # MiT-B5.
    frozen_dtype="bf16",
)
