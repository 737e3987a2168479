"""Domain generalization with adapters: published settings and sizes."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import ReferenceNameConstructor
from mmseg_uda.engine.runner import wrap_model
from mmseg_uda.experiments import profiles, profiles_vfm
from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.miniworld import vit_weights


@pytest.fixture(scope="module")
def rows(tables):
    return {
        (number, row.label): row
        for number in (710, 711, 712)
        for row in find_experiment(tables, number).rows
    }


def test_reported_numbers(rows):
    reported = {key: row.reported.values for key, row in rows.items() if row.reported}
    assert reported == {
        (710, "SoMA"): {"mIoU": 68.27},
        (710, "Rein"): {"cityscapes/mIoU": 66.7, "bdd100k/mIoU": 60.0},
        (710, "Rein, B"): {"cityscapes/mIoU": 64.3},
        (710, "Rein, S"): {"cityscapes/mIoU": 55.3},
        (711, "SoMA"): {"mIoU": 71.74},
        (711, "ACDC: SoMA"): {"mIoU_test": 78.75},
        (712, "SoMA"): {"mIoU": 69.26},
        (712, "Rein"): {"cityscapes/mIoU": 68.1},
    }
    for number in (710, 711, 712):
        labels = " ".join(label for n, label in rows if n == number)
        assert "source-only, frozen" in labels and "source-only, whole" in labels


def trainer_of(config):
    config = Config(config)
    config.model.backbone.init_cfg = None
    with torch.device("meta"):
        trainer = MODELS.build(wrap_model(config).model)
    wrapper = dict(config.optim_wrapper)
    wrapper.pop("constructor")
    paramwise = wrapper.pop("paramwise_cfg")
    return trainer, ReferenceNameConstructor(wrapper, paramwise)(trainer).optimizer


def groups_of(trainer, optimizer, prefix=""):
    """(rate, weight decay) -> number of parameters below a prefix."""
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        own = [p for p in group["params"] if names[id(p)].startswith(prefix)]
        if own:
            found[group["lr"], group["weight_decay"]] = sum(p.numel() for p in own)
    return found


def test_soma_trains_what_is_published(rows):
    row = rows[710, "SoMA"]
    trainer, optimizer = trainer_of(row.resolved)
    adapters = 4_718_592 + 147_456  # and biases
    assert groups_of(trainer, optimizer, "backbone") == {(5e-5, 0.05): adapters}
    decoder = groups_of(trainer, optimizer, "decode_head")
    assert set(decoder) == {(1e-4, 0.05), (1e-4, 0.0)}
    # both embeddings, both levels', and all norms: 12 LayerNorms of the pixel decoder and 28 of the
    # query decoder, five GroupNorms
    norms = (12 + 28 + 5) * 2 * 256
    assert decoder[1e-4, 0.0] == 2 * 100 * 256 + 2 * 3 * 256 + norms
    backbone = trainer.model.backbone
    assert (backbone.patch_size, backbone.out_indices) == (16, (7, 11, 15, 23))
    assert backbone.pos_embed.shape[1] == 32**2 + 1
    assert row.resolved["uda"] == dict(type="Supervised", ema=dict(momentum=2e-4, begin=12000))
    poly, decay = row.resolved["param_scheduler"]
    assert (poly["power"], poly["end"], decay["eta_min"], decay["end"]) == (0.9, 40000, 1e-5, 40000)
    assert row.resolved["train_dataloader"]["batch_size"] == 4


def test_rein_trains_what_is_published(rows):
    row = rows[710, "Rein"]
    trainer, optimizer = trainer_of(row.resolved)
    tokens = 38_400 + 393_216 + 1  # and the scale
    expected = {(1e-4, 0.0): tokens, (1e-4, 0.05): 2_990_081 - tokens}
    assert groups_of(trainer, optimizer, "backbone") == expected
    assert row.resolved["uda"] == dict(type="Supervised")
    assert len(row.resolved["param_scheduler"]) == 1


def test_source_only_trains_the_decoder_or_all(rows):
    for kind, rates in (("frozen", []), ("whole", [0.0, 1e-6])):
        row = rows[710, f"source-only, {kind} encoder"]
        trainer, optimizer = trainer_of(row.resolved)
        found = {rate for rate, _ in groups_of(trainer, optimizer, "backbone")}
        assert sorted(found) == pytest.approx(rates)
        assert row.resolved["uda"] == dict(type="Supervised")
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    (still,) = (g for g in optimizer.param_groups if g["lr"] == 0)
    parts = {names[id(p)].removeprefix("backbone.").split(".")[-2:][0] for p in still["params"]}
    assert parts == {"pos_embed", "proj", "norm1", "norm2", "ls1", "ls2", "norm"}


def test_cityscapes_as_source_warms_up_and_averages_later():
    for config, batch, start, steps in (
        ("vfm/cs2bm_soma_dinov2-l", 8, 1e-2, 1500),
        ("vfm/cs2acdc_soma_dinov2-l-1024", 2, 1e-6, 10000),
    ):
        resolved = plain_config(config)
        warm_up, poly, _ = resolved["param_scheduler"]
        assert (warm_up["start_factor"], warm_up["end"], poly["begin"]) == (start, steps, steps)
        assert resolved["train_dataloader"]["batch_size"] == batch
        assert resolved["uda"]["ema"]["begin"] == 20000
    model = resolved["model"]
    assert model["backbone"]["fixed_grid"] == 64 and model["backbone"]["adapter"]["type"] == "soma"
    assert model["test_cfg"] == dict(mode="slide", crop_size=(1024, 1024), stride=(683, 683))


def test_weights_are_averaged_where_published_and_scaled_once(rows):
    """SoMA averages on one source of 512² and on Cityscapes, not on GTA + SYNTHIA; Rein never."""
    begins = {
        key: row.resolved["uda"]["ema"]["begin"]
        for key, row in rows.items()
        if "ema" in row.resolved["uda"]
    }
    soma = {(710, label): 12000 for label in ("LoRA", "SoMA", "target-only (SoMA on Cityscapes)")}
    late = ("SoMA", "ACDC: SoMA", "ACDC: target-only (SoMA on ACDC)")
    assert begins == soma | {(711, label): 20000 for label in late}
    for key, row in rows.items():
        uda = profiles.mini(row.resolved)["uda"]
        assert uda["type"] == "Supervised"  # no teacher that could see mirror images
        begin = begins.get(key)
        scaled = begin and dict(momentum=pytest.approx(2e-4 * 25), begin=begin // 25)
        assert uda.get("ema") == scaled


def test_the_profile_keeps_the_geometry_of_crops_and_patches(rows):
    mini = profiles.mini(rows[710, "Rein"].resolved)
    model = mini["model"]
    backbone, head = model["backbone"], model["decode_head"]
    assert model["data_preprocessor"]["size"] == model["test_cfg"]["crop_size"] == (64, 64)
    assert model["test_cfg"]["stride"] == (43, 43)
    assert (backbone["patch_size"], backbone["fixed_grid"], backbone["input_scale"]) == (16, 8, 2.0)
    assert backbone["init_cfg"]["checkpoint"] == profiles_vfm.WEIGHTS == "miniworld/tiny_vit"
    assert backbone["adapter"]["tokens"] == head["num_queries"]
    source = mini["train_dataloader"]["dataset"]["source"]
    sides = source["pipeline"][2]["short_side"]
    assert (min(sides), max(sides), len(sides)) == (32, 128, 16)
    assert source["pipeline"][3]["crop_size"] == (64, 64)
    (poly,) = mini["param_scheduler"]
    assert poly["end"] == mini["train_cfg"]["max_iters"] == profiles.ITERATIONS
    assert profiles.world_groups([mini]) == ["generalization", "transformers"]
    late = profiles.mini(rows[711, "ACDC: SoMA"].resolved)
    assert late["model"]["backbone"]["fixed_grid"] == 16
    assert [s["end"] for s in late["param_scheduler"]] == [400, 1600, 1600]
    assert late["uda"]["ema"] == dict(momentum=pytest.approx(5e-3), begin=800)


def test_the_profiles_network_is_the_one_that_weights_are_made_for():
    assert profiles_vfm.SIZE == vit_weights.SIZE
    assert profiles_vfm.ARCH == vit_weights.ARCH
