# CSI (Lim and Kim, ECCV 2024, arXiv 2408.02261): relabelling of classes that the source lacks.
# Values of the paper's tables and of its released configs.
csi = dict(
    type="TaxonomyRelabeling",
    taxonomy="cityscapes19",
    # The classes that the source lacks, and the class that covers each of them there.
    mapping=[
        dict(target="terrain", source="vegetation", box_score=0.01, crop_score=0.1),
        dict(target="truck", source="car", box_score=0.1, crop_score=0.5),
        dict(target="train", source=None, box_score=0.1, crop_score=0.5),  # discovered
    ],
    collect=(7999, 11999),  # steps in which the source class of train is found
    relabel=(11999, 40000),  # some runs end at 39 999, without practical effect
    detector=dict(type="OwlDetector", checkpoint="owlvit"),
    classifier=dict(type="TransformersClip", checkpoint="openai/clip-vit-base-patch32"),
)
# CSI's learning rate: warm-up to the full base rate at step 1499, then linear decay to exactly 0 at
# step 39999.
csi_schedule = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=1500, end=40000),
]
