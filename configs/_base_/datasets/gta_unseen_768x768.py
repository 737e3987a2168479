_base_ = ["./eval/cityscapes_bdd100k_mapillary.py"]

# Domain generalization: trained on GTA, evaluated on Cityscapes, BDD100K and Mapillary Vistas.
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
        source=dict(type="GTA", file_list="splits/train.txt", pipeline=source_pipeline),
        # Half of an epoch shows every class equally often, at a place in a tile of this side.
        class_uniform_sampling=dict(share=0.5, tile=1024),
    ),
)
