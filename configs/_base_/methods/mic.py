# MIC (Hoyer et al., CVPR 2023, arXiv 2212.01322): masked image consistency. Values of its Sec. 4.
mic = dict(
    type="MaskedConsistency",
    mode="separatetrgaug",  # masked target images with colour augmentation
    mask_ratio=0.7,
    block_size=64,  # 32 at half resolution
    loss_weight=1,
    alpha="same",  # the teacher is the host's
    pseudo_threshold="same",
)
# One masked source and one masked target image, for a batch of 2: day to adverse weather, and CSI.
mic_separate = dict(mic, mode="separate")
