"""Settings without effect beside the others."""

import pytest

from mmseg_uda.data_root import VARIABLE
from mmseg_uda.findings import Level
from mmseg_uda.inspection.idle import check_idle

SOURCE = dict(type="GTA", pipeline=[dict(type="LoadFrame")])
TARGET = dict(type="Cityscapes", images_only=True)


def config(source=None, target=None, sampler=None, uda=None, pair=None, **further):
    data = dict(type="DomainPairDataset", source={**SOURCE, **(source or {})}, **(pair or {}))
    data["target"] = {**TARGET, **(target or {})}
    loader = dict(sampler=sampler or dict(type="PairSampler"), dataset=data)
    return dict(train_dataloader=loader, uda=uda or {}, **further)


MASKS = dict(type="TorchMask2FormerHead")
IDLE = {
    "source.depth_suffix": config(source=dict(depth_suffix="_d.png")),
    "target.depth_dir": config(target=dict(depth_dir="depth")),
    "target.label_map": config(target=dict(label_map="gta16")),
    "source.split": config(source=dict(split="train", img_dir="a", label_dir="b")),
    "target.split": config(target=dict(split="val", img_dir="a")),
    "dataset.target_labels_for_diagnosis": config(pair=dict(target_labels_for_diagnosis=True)),
    "optimizer": config(
        optimizer=dict(type="SGD"), optim_wrapper=dict(optimizer=dict(type="Adam"))
    ),
    "model.train_cfg.work_dir": config(
        model=dict(type="HRDAEncoderDecoder", train_cfg=dict(work_dir="x"))
    ),
    "uda.ema": config(uda=dict(ema=dict(begin=100)), train_cfg=dict(max_iters=100)),
    "load_form": config(load_form="a.pth"),
    "custom_hook": config(custom_hook=[]),
    "seed": config(seed=3, randomness=dict(seed=0)),
}
EPOCHS = dict(type="PolyLR", by_epoch=True, end=10)
REFUSED = {
    "dataset.rare_class_sampling": config(
        pair=dict(rare_class_sampling={}), sampler=dict(type="InfiniteSampler", shuffle=True)
    ),
    "dataset.class_uniform_sampling": config(
        pair=dict(class_uniform_sampling={}), sampler=dict(type="PairSampler", shuffle=False)
    ),
    "lr_config": config(lr_config=dict(policy="poly")),
    "evaluation": config(evaluation=dict(interval=4000)),
    "checkpoint_config": config(checkpoint_config=dict(interval=1)),
    "data": config(data=dict(samples_per_gpu=2)),
    "model.decode_head.sampler": config(
        model=dict(decode_head={**MASKS, "sampler": dict(type="OHEMPixelSampler")})
    ),
    "model.auxiliary_head.1.sampler": config(
        model=dict(auxiliary_head=[dict(sampler=None), {**MASKS, "sampler": dict(type="O")}])
    ),
    "model.test_cfg.strides": config(
        model=dict(type="SlideEncoderDecoder", test_cfg=dict(mode="slide", strides=(2, 2)))
    ),
    "default_hooks.checkpoint.intervall": config(
        default_hooks=dict(checkpoint=dict(type="SafeCheckpointHook", intervall=100))
    ),
    "default_hooks.checkpoint.by_epoch": config(
        default_hooks=dict(checkpoint=dict(type="SafeCheckpointHook", by_epoch=True))
    ),
    "log_processor.by_epoch": config(log_processor=dict(by_epoch=True)),
    "train_cfg.max_epochs": config(train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=9)),
    "train_cfg.type": config(train_cfg=dict(type="EpochBasedTrainLoop")),
    "train_cfg.by_epoch": config(train_cfg=dict(type="TrainLoop", by_epoch=True, max_epochs=9)),
    "param_scheduler.by_epoch": config(param_scheduler=EPOCHS),
    "param_scheduler[1].by_epoch": config(param_scheduler=[dict(type="LinearLR"), EPOCHS]),
    "param_scheduler.discriminator[0].by_epoch": config(
        param_scheduler=dict(segmentor=[], discriminator=[EPOCHS])
    ),
}


def schedules(*entries):
    return config(param_scheduler=list(entries), train_cfg=dict(max_iters=41))


@pytest.mark.parametrize(
    ("several", "end"),
    [
        (schedules(dict(type="LinearLR", end=10), dict(type="PolyLR", end=39)), 39),
        (schedules(dict(type="CosineAnnealingLR", end=20, eta_min=0.0)), 20),
        (config(param_scheduler=dict(type="PolyLR", end=7), train_cfg=dict(max_iters=41)), 7),
    ],
)
def test_a_rate_of_zero_before_the_end_is_told(several, end):
    (finding,) = check_idle(several)
    assert finding.level is Level.WARNING and finding.fix
    assert f"the learning rate is 0 from step {end} on, and there are 41." in finding.message


@pytest.mark.parametrize("key", [*IDLE, *REFUSED])
def test_they_are_told_with_their_key(key):
    (finding,) = check_idle({**IDLE, **REFUSED}[key])
    assert f"{key} has no effect" in finding.message and finding.fix
    assert finding.level is (Level.WARNING if key in IDLE else Level.PROBLEM)


def test_a_data_root_that_no_data_set_uses_is_told(monkeypatch):
    elsewhere = config(source=dict(data_root="/disk/gta"), target=dict(data_root="cities"))
    assert check_idle(elsewhere) == []
    monkeypatch.setenv(VARIABLE, "/other")
    (finding,) = check_idle(elsewhere)
    assert finding.level is Level.WARNING and "--data-root" in finding.message
    assert "source.data_root='/disk/gta'" in finding.message and "'/other'" in finding.fix
    assert check_idle(config(source=dict(data_root="/disk/gta"))) == []
    assert check_idle(config(target=dict(data_root="data/mine"))) == []


@pytest.mark.parametrize(
    "right",
    [
        config(),
        config(source=dict(depth_suffix="_d.png", pipeline=[dict(type="LoadRemappedDepth")])),
        config(source=dict(depth_dir="depth"), uda=dict(depth=dict(type="DepthSimilarity"))),
        config(
            target=dict(label_map="gta16"),
            pair=dict(target_labels_for_diagnosis=True),
            uda=dict(diagnosis=dict(type="PseudoLabelQuality")),
        ),
        config(source=dict(split="train", img_dir="a")),
        config(pair=dict(rare_class_sampling={})),
        config(uda=dict(ema=dict(begin=99)), train_cfg=dict(max_iters=100)),
        config(optimizer=dict(lr=1), optim_wrapper=dict(optimizer=dict(lr=1)), seed=0,
               randomness=dict(seed=0)),
        config(
            model=dict(
                type="HRDAEncoderDecoder",
                auxiliary_head=dict(sampler=None),
                test_cfg=dict(mode="slide", crop_size=(2, 2), stride=(1, 1), batched_slide=True),
                train_cfg={},
            ),
            default_hooks=dict(
                checkpoint=dict(type="SafeCheckpointHook", by_epoch=False, interval=1)
            ),
        ),
        config(model=dict(type="EncoderDecoder", test_cfg=dict(mine=1))),
        config(crop_size=(2, 2), test_pipeline=[], norm_cfg={}, dataset_type="GTA", taxonomy="x"),
        config(model=dict(decode_head=dict(type="FCNHead", sampler=dict(type="OHEMPixelSampler")))),
        dict(alignment=dict(), data=dict(evaluate=None)),
        schedules(dict(type="PolyLR", by_epoch=False, end=40), dict(type="MultiStepLR", end=10)),
        schedules(dict(type="LinearLR", end=10)),
        schedules(dict(type="PolyLR", end=10, eta_min=1e-6)),
        schedules(dict(type="PolyLR", end=10), dict(type="CosineAnnealingLR", begin=10, end=40)),
        schedules(dict(type="PolyLR", by_epoch=True, convert_to_iter_based=True, end=2)),
        schedules(dict(type="ReduceOnPlateauLR", by_epoch=True, monitor="mIoU")),
        dict(),
    ],
)  # fmt: skip
def test_what_has_an_effect_is_not(right):
    assert check_idle(right) == []
