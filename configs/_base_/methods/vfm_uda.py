# VFM-UDA (Englert et al., CVPR Workshops 2024, arXiv 2406.09896): self-training of foundation
# models. Values of its released code.
vfm_uda = dict(
    type="SelfTraining",
    alpha=0.999,
    pseudo_threshold=0.968,
    teacher_flip=True,  # the teacher sees each target image and its mirror image
    source_average="labelled",  # the mixed and the masked loss: over all pixels
    augmentation=dict(style="torchvision", per_image=True),
    jitter_probability=0.8,
    jitter_strength=0.2,
    blur_probability=0.5,
    weak_jitter=dict(probability=0.9, brightness=32 / 255, contrast=0.5, saturation=0.5, hue=0.05),
    masking=dict(
        type="MaskedConsistency",
        mode="separatetrgaug",
        unit="tokens",  # tokens are replaced by a trained mask token
        mask_ratio=0.7,
        block_size=64,  # in pixels of the resized image, for unit="pixels"
        loss_weight=1,
        shared_draws=False,
    ),
)
# The labelled domain alone, with the same jitter: source-only, and the oracle.
vfm_supervised = dict(vfm_uda, source_only=True, teacher_flip=False, masking=None)
