# SSDA, the method: seeds by uncertainty and class balance, seed loss, truncated CRF loss. Its
# accuracy is unverified upstream, where the released code runs something else (see
# dacs_a999_fdthings_ssda_released.py and the card in mmseg_uda/methods/ssda).
_base_ = ["./dacs_a999_fdthings.py"]
uda = dict(
    subdomains=dict(
        type="DynamicSubdomains",
        # HRDA's three scales; on other networks 8 passes with dropout before the classifier.
        # DeepLabV2's decoder has no dropout of its own: give it one with dropout=0.1.
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
    ),
)
