# CDDA (2025, no paper known): class-wise depth-distribution similarity. Values of its repository.
cdda = dict(
    type="DepthSimilarity",
    # Both thresholds fall by threshold_decay every 1000 steps from step 10 000 to 39 000.
    decay_begin=10000,
    decay_end=40000,
    decay_interval=1000,
    # The three uses of a match.
    reweight=True,
    replace_source=True,
    guidance=True,
    # As documented; the released code uses the first row's labels and the last missing class.
    reweight_mask="class",
    guidance_trigger="any",
)
# Scores above which pseudo-labels are reweighted and the source image is replaced, and above which
# classes that the pseudo-label lacks guide the student; and how fast they fall. Target images are
# compared with a bank of source crops, which is drawn before the training if it is missing.
cdda_gta = dict(
    cdda,
    reweight_threshold=0.56,
    relabel_threshold=0.54,
    threshold_decay=0.0025,
    build=dict(count=24966, sampling="rcs", seed=0),
)
cdda_gtaHR = dict(cdda_gta, threshold_decay=0.003)
cdda_syn = dict(
    cdda,
    reweight_threshold=0.49,
    relabel_threshold=0.47,
    threshold_decay=0.001,
    build=dict(count=9400, sampling="rcs", seed=0),
)
cdda_synHR = dict(cdda_syn, threshold_decay=0.002)
# Validated every 1000 steps; the weights of the best validation are kept beside the last ones.
cdda_loop = dict(val_interval=1000)
cdda_hooks = dict(checkpoint=dict(save_best="mIoU", rule="greater"))
