# SRHA: regions exchange their style behind the stem; features stay close to those of the ImageNet
# network. Labelled source images alone.
srha = dict(
    type="SRHA",
    # Every image gets a copy in which each region has a mixture of the styles of all regions:
    # Dirichlet weights of this concentration, with which one style nearly always has it all.
    rearrangement=True,
    concentration=0.0156,
    ignore_as_region=True,  # unlabelled pixels are a region, too
    # Squared distance to the ImageNet features of the original, with a factor per stage.
    alignment_levels=("global", "regional", "local"),
    alignment_layers=(1, 2, 3, 4),
    alignment_weights=(0.4, 0.6, 0.8, 1.0),
    consistency_weight=10.0,  # Jensen-Shannon divergence of the two predictions
    # The ImageNet network sees the student's copies beside the originals ("independent": copies of
    # its own, as the original code does) and normalises by the statistics of its batch.
    teacher_inputs="shared",
    teacher_bn="batch",
    alpha=1.0,  # the ImageNet network stays as it is
)
