"""Which changes of a config count, and which of the two values holds."""

import copy

import pytest
from fixed_run import config
from mmengine.config import Config

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import wrap_model
from mmseg_uda.engine.config_changes import Holds, decide, find_changes
from mmseg_uda.engine.deployed import stored_config
from mmseg_uda.errors import UserError

CONFIG, ALLOWED = Holds.CONFIG, Holds.ALLOWED_CONFIG


def wrapped(folder, **changes):
    """A config as the runner has it."""
    cfg = config(folder)
    cfg.merge_from_dict(changes)
    return wrap_model(cfg)


def stored(cfg):
    """The same as a checkpoint gives it back."""
    return stored_config({"meta": {"cfg": cfg.pretty_text}}).to_dict()


def changed(folder, then=None, **now):
    old = stored(wrapped(folder, **(then or {})))
    return find_changes(old, wrapped(folder, **now).to_dict())


def test_what_a_checkpoint_gives_back_is_unchanged(tmp_path, laid_out):
    cfg = Config.fromfile("configs/mic/gtaHR2csHR_mic_hrda.py")
    assert find_changes(stored(wrap_model(cfg)), wrap_model(cfg).to_dict()) == []
    assert changed(tmp_path) == []


@pytest.mark.parametrize(
    "then, now",
    [
        ({"uda.relabel": dict(collect=(1, 4))}, {"uda.relabel": dict(collect=[1, 4])}),
        ({}, {"uda.alpha": 0.999, "uda.pseudo_share": "batch"}),  # defaults of the class
        ({"uda.masking.mask_ratio": 0.7}, {}),  # of a component
        ({}, {"uda.subdomains": None, "custom_hooks": []}),
        ({}, {"train_dataloader.drop_last": False}),
        ({}, {"uda.max_iters": 4, "uda.seed": 0}),  # as wrap_model fills them in
        ({"randomness": dict(seed=7), "uda.seed": 0}, {"randomness": dict(seed=None)}),
        ({"sync_bn": True}, {"sync_bn": "torch"}),
    ],
)  # fmt: skip
def test_equal_in_another_form(tmp_path, then, now):
    assert changed(tmp_path, then, **now) == []


def test_one_schedule_is_a_list_of_one(tmp_path):
    now = wrapped(tmp_path)
    (now.param_scheduler,) = now.param_scheduler
    assert find_changes(stored(wrapped(tmp_path)), now.to_dict()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"work_dir": "elsewhere"},
        {"log_level": "INFO"},
        {"resume": False},
        {"log_processor.window_size": 50},
        {"default_hooks.checkpoint.interval": 7},
        {"default_hooks.logger.interval": 7},
        {"default_hooks.debug_panels.interval": 7},
        {"train_dataloader.num_workers": 2, "train_dataloader.persistent_workers": True},
        {"train_dataloader.pin_memory": True, "train_dataloader.prefetch_factor": 4},
        {"optim_wrapper.optimizer.fused": True},
        {"test_dataloader": dict(dataset=dict(data_root="x")), "test_cfg": dict(type="TestLoop")},
        {"a_fragment": dict(type="GTA")},
        {"env_cfg.dist_cfg.timeout": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_no_number_is_not_told(tmp_path, change):
    assert changed(tmp_path, **change) == []


@pytest.mark.parametrize(
    "key, value, holds",
    [
        ("train_cfg.max_iters", 9, CONFIG),
        ("train_cfg.val_interval", 9, CONFIG),
        ("optim_wrapper.optimizer.lr", 0.5, CONFIG),
        ("optim_wrapper.optimizer.weight_decay", 0.5, CONFIG),
        ("optim_wrapper.clip_grad", dict(max_norm=1.0), CONFIG),
        ("optim_wrapper.paramwise_cfg", dict(custom_keys={"head": dict(lr_mult=2.0)}), CONFIG),
        ("param_scheduler", [dict(type="ConstantLR")] * 2, CONFIG),
        ("val_cfg", dict(type="ValLoop"), CONFIG),
        ("randomness.deterministic", True, CONFIG),
        ("execution", dict(recompute=["backbone"]), CONFIG),
        ("model.test_cfg.mode", "slide", CONFIG),
        ("load_from", "weights.pth", Holds.CHECKPOINT),
        ("model.backbone.init_cfg", dict(type="Pretrained"), Holds.CHECKPOINT),
        ("optim_wrapper.optimizer.type", "SGD", Holds.NEITHER),
        ("optim_wrapper.amp", "bf16", ALLOWED),
        ("optim_wrapper.accumulative_counts", 2, ALLOWED),
        ("train_dataloader.batch_size", 3, ALLOWED),
        ("train_dataloader.dataset.type", "FixedImages", ALLOWED),
        ("train_dataloader.sampler.shuffle", True, ALLOWED),
        ("uda.alpha", 0.9, ALLOWED),
        ("uda.masking.mask_ratio", 0.5, ALLOWED),
        ("uda.masking", None, ALLOWED),
        ("uda.type", "Supervised", ALLOWED),
        ("model.decode_head.dropout_ratio", 0.3, ALLOWED),
        ("model.data_preprocessor.size", (16, 16), ALLOWED),
        ("randomness.seed", 1, ALLOWED),
        ("custom_hooks", [dict(type="EMAHook")], CONFIG),
        ("sync_bn", True, ALLOWED),
    ],
)
def test_what_holds(tmp_path, key, value, holds):
    if key == "uda.type":
        old, new = stored(wrapped(tmp_path)), wrapped(tmp_path).to_dict()
        new["model"]["type"] = value
        (change,) = find_changes(old, new)
    else:
        (change,) = changed(tmp_path, **{key: value})
    assert change.key.startswith(key) or key.startswith(change.key) or key == "execution"
    assert change.holds is holds


def test_rates_that_follow_validations_are_the_checkpoints(tmp_path):
    plateau = {"param_scheduler": [dict(type="ReduceOnPlateauLR", monitor="mIoU")]}
    (change,) = changed(tmp_path, plateau, **plateau, **{"optim_wrapper.optimizer.lr": 0.5})
    assert (change.key, change.holds) == ("optim_wrapper.optimizer.lr", Holds.CHECKPOINT)


def test_keys_are_those_of_the_config_file(tmp_path):
    pipeline = [dict(type="LoadFrame"), dict(type="CropFields", crop_size=(64, 64))]
    data = dict(type="DomainPairDataset", source=dict(type="GTA", pipeline=pipeline))
    now = copy.deepcopy(data)
    now["source"]["pipeline"][1]["crop_size"] = (32, 32)
    then = {"train_dataloader.dataset": data, "param_scheduler": [dict(type="PolyLR", end=4)]}
    late = {"train_dataloader.dataset": now, "param_scheduler": [dict(type="PolyLR", end=8)]}
    assert [(c.key, c.then, c.now) for c in changed(tmp_path, then, **late)] == [
        ("train_dataloader.dataset.source.pipeline[1].crop_size", [64, 64], [32, 32]),
        ("param_scheduler[0].end", 4, 8),
    ]


def test_another_number_of_processes(tmp_path):
    then, now = stored(wrapped(tmp_path)), wrapped(tmp_path).to_dict()
    (change,) = find_changes({**then, "processes": 2}, {**now, "processes": 1})
    assert (change.key, change.then, change.now, change.holds) == ("processes", 2, 1, ALLOWED)
    assert find_changes(then, {**now, "processes": 1}) == []  # not told by old checkpoints


def test_changes_that_have_to_be_allowed_are_refused_by_name(tmp_path):
    found = changed(tmp_path, **{"uda.alpha": 0.9, "randomness.seed": 3, "train_cfg.max_iters": 8})
    with pytest.raises(UserError) as caught:
        decide(found, "iter_4.pth", allow_changes=False)
    first, head, *rows = caught.value.message.splitlines()
    assert first == "iter_4.pth is of another training: randomness.seed, uda.alpha changed."
    assert head.split("  ")[1:] and all(name in head for name in ("then", "now", "what holds"))
    assert [row.split()[:3] for row in rows] == [
        ["randomness.seed", "0", "3"],
        ["train_cfg.max_iters", "4", "8"],
        ["uda.alpha", "0.999", "0.9"],
    ]
    assert "--allow-changes" in caught.value.fix and "--work-dir" in caught.value.fix
    told = decide(found, "iter_4.pth", allow_changes=True)
    assert "uda.alpha" in told.splitlines()[0] and "train_cfg.max_iters" in told


def test_another_optimizer_is_refused_in_any_case(tmp_path):
    found = changed(tmp_path, **{"optim_wrapper.optimizer.type": "SGD"})
    with pytest.raises(UserError, match=r"optim_wrapper\.optimizer\.type changed"):
        decide(found, "iter_4.pth", allow_changes=True)


def test_a_wholly_different_config_is_told_briefly(tmp_path):
    other = wrap_model(Config.fromfile("configs/mic/gtaHR2csHR_mic_hrda.py"))
    found = find_changes(stored(wrapped(tmp_path)), other.to_dict())
    with pytest.raises(UserError) as caught:
        decide(found, "iter_4.pth", allow_changes=False)
    assert " more changed." in caught.value.message.splitlines()[0]
    assert max(map(len, caught.value.message.splitlines())) < 400


class TestMovedPaths:
    def test_a_moved_root_takes_along_what_lies_in_it(self, tmp_path):
        def at(root):
            data = dict(type="TaxonomyDataset", data_root=root, taxonomy=f"{root}/two.yaml")
            return {"train_dataloader.dataset": data, "val_evaluator": dict(taxonomy=f"{root}/x/t")}

        assert changed(tmp_path, at("/old/place/gta"), **at("/new/gta")) == []

    def test_a_copy_of_a_work_dir_takes_along_its_paths(self, tmp_path):
        then = {"work_dir": "/old/exp/job", "uda.bank": "/old/exp/other/bank"}
        now = {"work_dir": "/new/exp/job", "uda.bank": "/new/exp/other/bank"}
        assert changed(tmp_path, then, **now) == []

    def test_another_data_root_is_told_and_holds(self, tmp_path):
        key = "train_dataloader.dataset.data_root"
        old, new = tmp_path / "gta", tmp_path / "synthia"
        old.mkdir(), new.mkdir()
        (change,) = changed(tmp_path, {key: str(old)}, **{key: str(new)})
        assert (change.key, change.holds) == (key, CONFIG)

    def test_files_of_one_name(self, tmp_path):
        paths = [tmp_path / part / "weights.pth" for part in "abc"]
        for path, size in zip(paths, (5, 5, 6), strict=True):
            path.parent.mkdir()
            path.write_bytes(b"x" * size)
        a, b, c = map(str, paths)
        key = "uda.relabel.checkpoint"
        assert changed(tmp_path, {key: a}, **{key: b}) == []
        assert [change.key for change in changed(tmp_path, {key: a}, **{key: c})] == [key]
        paths[0].unlink()
        assert changed(tmp_path, {key: a}, **{key: c}) == []  # moved: the old place is empty

    def test_other_folders_of_a_data_set_are_no_moves(self, tmp_path):
        key = "train_dataloader.dataset.img_dir"
        (change,) = changed(tmp_path, {key: "src/images"}, **{key: "tgt/images"})
        assert change.holds is ALLOWED
