# SSDA (IEEE TMM 2024, doi 10.1109/TMM.2024.3355629): dynamic subdomains.
# The method: seeds by uncertainty and class balance, seed loss, truncated CRF loss. Its accuracy is
# unverified upstream, where the released code runs something else (below, and the card in
# mmseg_uda/methods/ssda).
ssda = dict(
    type="DynamicSubdomains",
    # HRDA's three scales; on other networks 8 passes with dropout before the classifier.
    uncertainty=dict(source="auto", passes=8, dropout=None, attenuated_lr=False, at="image"),
    pseudo_from="deterministic",
    class_prior="gta_pycda",  # "source_stats" counts the configured source
    absent_class="none",  # classes that the source lacks are never seeds
    beta=0.1,
    quota="balanced",
    min_pixels=10,  # strictly more are needed
    scope="batch",
    ties="include",
    quota_valid_only=False,
    target_weight=0.01,  # the only value known from a completed run
    seed_loss_weight=1.0,
    branch_seed_loss=True,
    uncertainty_loss_weight=0.0,  # logged only: it is a constant
    uncertainty_grad=False,
    crf_loss_weight=0.1,
    crf=dict(
        radius=5,  # cells of the grid: 121 - 1 neighbours
        sigma_xy=3.0,
        sigma_rgb=0.1,  # of RGB in [0, 1]; ours, as is the grid
        weight=1.0,
        rgb_space="unit",
        resolution="native",
        gate="full_block",
        detach_source=False,
        respect_valid=True,
    ),
    weight_map="unmixed",
    use_confidence_weight=True,
)
# DeepLabV2's decoder has no dropout of its own.
ssda_dropout = dict(ssda, uncertainty=dict(ssda["uncertainty"], dropout=0.1))
# What the released code runs, without its wasted work: uncertainty and CRF are inert in it, so that
# it is a plain seed loss on (almost) all pixels, with the mixed images' weights. All pixels tie: a
# class of more than 10 pixels is all seeds.
ssda_released = dict(
    ssda,
    # Two identical teacher passes there: 0 everywhere, as without a second pass.
    uncertainty=dict(source="none", passes=2),
    absent_class="all",
    uncertainty_loss_weight=1.0,  # of 0
    crf_loss_weight=0.0,  # never called
    crf=dict(ssda["crf"], sigma_rgb=0.005, rgb_space="zscore", respect_valid=False),
    weight_map="mixed_alias",  # a tensor that ClassMix overwrites before it is used
)
