# CSI (Lim and Kim, ECCV 2024, arXiv 2408.02261) on DAFormer.
# GTA with 16 classes → Cityscapes.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_gta16_to_cityscapes_512x512.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm_csi.py",
    "../_base_/uda/dacs_a999_fdthings.py",
]
randomness = dict(seed=0)
model = dict(
    decode_head=dict(
        # CSI's code averages over labelled pixels; DAFormer, HRDA and MIC over all pixels.
        loss_decode=dict(avg_non_ignore=True),
    ),
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        rare_class_sampling=dict(
            min_pixels=3000,  # of a class, at native resolution
            class_temp=0.01,
            min_crop_ratio=0.5,  # share of min_pixels that a crop must show
        ),
    ),
)
uda = dict(
    # Rows of the crop without pseudo-labels (rectification border, ego car of Cityscapes).
    pseudo_weight_ignore_top=15,
    pseudo_weight_ignore_bottom=120,
    relabel=dict(
        type="TaxonomyRelabeling",
        taxonomy="cityscapes19",
        # The classes that the source lacks, and the class that covers each of them there.
        mapping=[
            dict(target="terrain", source="vegetation", box_score=0.01, crop_score=0.1),
            dict(target="truck", source="car", box_score=0.1, crop_score=0.5),
            dict(target="train", source=None, box_score=0.1, crop_score=0.5),  # discovered
        ],
        collect=(7999, 11999),  # steps in which the source class of train is found
        relabel=(11999, 40000),
        detector=dict(type="OwlDetector", checkpoint="owlvit"),
        classifier=dict(type="TransformersClip", checkpoint="openai/clip-vit-base-patch32"),
    ),
)
