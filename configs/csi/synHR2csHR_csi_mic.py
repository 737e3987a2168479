# CSI (Lim and Kim, ECCV 2024, arXiv 2408.02261) on MIC.
# SYNTHIA → Cityscapes.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_synthiaHR_to_cityscapesHR_1024x1024.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm_csi.py",
    "../_base_/uda/dacs_a999_fdthings.py",
]
randomness = dict(seed=0)
model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    hr_crop_size=(512, 512),  # detail crop inside the context crop
    decode_head=dict(
        hr_loss_weight=0.1,
        # CSI's code averages over labelled pixels; DAFormer, HRDA and MIC over all pixels.
        loss_decode=dict(avg_non_ignore=True),
    ),
    test_cfg=dict(mode="slide", batched_slide=True, crop_size=(1024, 1024), stride=(512, 512)),
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        rare_class_sampling=dict(
            min_pixels=3000,  # of a class, at native resolution
            class_temp=0.01,
            min_crop_ratio=2.0,  # of min_pixels in a crop: 4 times the pixels of half resolution
        ),
        # No pseudo-labels on rectification borders and ego car: top, bottom, left, right.
        target=dict(crop_pseudo_margins=[30, 240, 30, 30]),
    ),
)
uda = dict(
    masking=dict(
        type="MaskedConsistency",
        mode="separate",  # one masked source and one masked target image; batch size 2
        mask_ratio=0.7,
        block_size=64,
        loss_weight=1,
        alpha="same",  # the teacher is the host's
        pseudo_threshold="same",
    ),
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
        relabel=(11999, 39999),
        detector=dict(type="OwlDetector", checkpoint="owlvit"),
        classifier=dict(type="TransformersClip", checkpoint="openai/clip-vit-base-patch32"),
    ),
)
