# What SSDA's released code runs, without its wasted work: uncertainty and CRF are inert in it, so
# that it is a plain seed loss on (almost) all pixels, with the mixed images' weights.
_base_ = ["./dacs_a999_fdthings.py"]
uda = dict(
    subdomains=dict(
        type="DynamicSubdomains",
        # Two identical teacher passes there: 0 everywhere, as without a second pass.
        uncertainty=dict(source="none", passes=2),
        pseudo_from="deterministic",
        class_prior="gta_pycda",  # for every source
        absent_class="all",
        beta=0.1,
        quota="balanced",
        min_pixels=10,
        scope="batch",
        ties="include",  # all pixels tie: a class of more than 10 pixels is all seeds
        quota_valid_only=False,
        target_weight=0.01,
        seed_loss_weight=1.0,
        branch_seed_loss=True,
        uncertainty_loss_weight=1.0,  # of 0
        uncertainty_grad=False,
        crf_loss_weight=0.0,  # never called
        crf=dict(
            radius=5,
            sigma_xy=3.0,
            sigma_rgb=0.005,
            weight=1.0,
            rgb_space="zscore",
            resolution="native",
            gate="full_block",
            detach_source=False,
            respect_valid=False,
        ),
        weight_map="mixed_alias",  # a tensor that ClassMix overwrites before it is used
        use_confidence_weight=True,
    ),
)
