"""A run on fixed samples through the real runner: no files needed."""

import json

from mmseg.registry import DATASETS
from nano import nano_config, random_batch
from runtime import runtime
from torch.utils.data import Dataset

import mmseg_uda.register_all  # noqa: F401


@DATASETS.register_module(name="FixedBatches")
class FixedBatches(Dataset):
    """Fixed samples, so that a run needs no files."""

    metainfo = dict(classes=("a", "b", "c", "d", "e"), palette=[[i] * 3 for i in range(5)])

    def __len__(self):
        return 8

    def __getitem__(self, index):
        batch = random_batch(index, batch=1)
        return {
            domain: dict(inputs=part["inputs"][0], data_samples=part["data_samples"][0])
            for domain, part in batch.items()
        }


@DATASETS.register_module(name="FixedImages")
class FixedImages(FixedBatches):
    """Some of the labelled images one by one, for validation."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        item = super().__getitem__(index)["source"]
        item["data_samples"].set_metainfo(dict(ori_shape=item["data_samples"].img_shape))
        return item


def with_validation(folder, changes=None, every=4):
    """Changes of a config for a validation on fixed images every few steps."""
    classes = [dict(name=n, color=[i] * 3, group=n, prompts=[n]) for i, n in enumerate("abcde")]
    taxonomy = folder / "five.yaml"
    taxonomy.write_text(json.dumps(dict(name="five", classes=classes)))
    loader = dict(
        batch_size=1,
        num_workers=0,
        dataset=dict(type="FixedImages"),
        sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    )
    return {
        "val_dataloader": loader,
        "val_cfg": dict(type="ValLoop"),
        "val_evaluator": dict(type="StreamingIoU", taxonomy=str(taxonomy)),
        "train_cfg.val_interval": every,
        **(changes or {}),
    }


def config(work_dir, steps=4, **changes):
    base = runtime()
    base.merge_from_dict(
        dict(
            model=nano_config(),
            uda=dict(
                type="SelfTraining",
                feature_distance=dict(type="FeatureDistance", classes=[1, 2], min_ratio=0.5),
                masking=dict(type="MaskedConsistency", mode="separatetrg", block_size=8),
            ),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                dataset=dict(type="FixedBatches"),
                sampler=dict(type="InfiniteSampler", shuffle=False),
            ),
            train_cfg=dict(type="TrainLoop", max_iters=steps, val_interval=100),
            optim_wrapper=dict(
                type="StepOptimWrapper",
                constructor="ReferenceNameConstructor",
                optimizer=dict(type="AdamW", lr=1e-3),
            ),
            param_scheduler=[dict(type="PolyLR", power=1.0, by_epoch=False, begin=0, end=20)],
            work_dir=str(work_dir),
            experiment_name=f"{work_dir.name}_{steps}_{len(list(work_dir.glob('*')))}",
            resume=True,
            log_level="ERROR",
        )
    )
    base.default_hooks.checkpoint.interval = 2
    base.default_hooks.logger.interval = 2
    base.default_hooks.job_files.interval = 2
    base.merge_from_dict(changes)
    return base
