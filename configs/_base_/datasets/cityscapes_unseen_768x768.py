_base_ = ["./eval/bdd100k_synthia_gta.py"]

# Domain generalization: trained on Cityscapes, evaluated on BDD100K, SYNTHIA and GTA.
crop_size = (768, 768)
source_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="RandomScaleCrop", crop_size=crop_size, scale=(0.5, 2.0)),
    dict(type="FlipFields", prob=0.5),
    dict(type="RandomColorJitter", prob=0.5),
    dict(type="RandomGaussianBlur", sigma=(0.15, 1.30)),
    dict(type="PackFields"),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="PairSampler"),
    dataset=dict(
        type="DomainPairDataset",
        source=dict(type="Cityscapes", pipeline=source_pipeline),
        # Half of an epoch shows every class equally often, at a place in a tile of this side.
        class_uniform_sampling=dict(share=0.5, tile=1024),
    ),
)
