"""The training step: losses, teacher, stem, switches."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.model.utils import convert_sync_batchnorm
from nano import nano_config, nano_hrda_config, random_batch
from staged import mask_config, sgd, srha, staged_config

from mmseg_uda.engine.records import source_batch
from mmseg_uda.engine.runner import wrap_model
from mmseg_uda.errors import UserError
from mmseg_uda.methods.srha import SRHA, find_regions, js_divergence, rearrange, regional_distance
from mmseg_uda.models.backbones import StagedBackbone, instance_standardize

LEVELS = ("global", "regional", "local")
WEIGHTS = (0.4, 0.6, 0.8, 1.0)


def step(trainer, number=0, **options):
    return trainer.train_step(random_batch(number), sgd(trainer, **options))


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_a_step_by_hand():
    trainer, other = srha(), srha()
    other.model.auxiliary_head.dropout.eval()
    trainer.model.auxiliary_head.dropout.eval()
    drawn = []
    draw = trainer.draw_weights
    trainer.draw_weights = lambda present: drawn.append(draw(present)) or drawn[-1]
    log = step(trainer)
    (weights,) = drawn  # the teacher sees the student's copies

    source = source_batch(random_batch()["source"], other.model.data_preprocessor)
    backbone, model = other.model.backbone, other.model
    label = torch.cat([source.label, source.label])
    h = backbone.stem(source.image)
    styled = rearrange(h, find_regions(source.label, h.shape[-2:], 5), weights)
    x = instance_standardize(torch.cat([h, styled]))
    features = backbone.forward_stages(x)
    logits = F.interpolate(
        model.decode_head(features), size=(32, 32), mode="bilinear", align_corners=True
    )
    small = label[:, ::16, ::16]  # stage 3 has 2x2 positions
    expected = {
        "decode.loss_seg": F.cross_entropy(logits, label, ignore_index=255),
        "aux.loss_seg": 0.4
        * F.cross_entropy(model.auxiliary_head(features), small, ignore_index=255),
        "srha.loss_consistency": 10 * js_divergence(logits[:2], logits[2:]).mean(),
    }
    reference = srha().model.backbone.forward_stages(x)  # batch statistics over both copies
    totals = dict.fromkeys(LEVELS, 0.0)
    for weight, mine, theirs in zip(WEIGHTS, features, reference, strict=True):
        twice = torch.cat([theirs[:2], theirs[:2]])
        totals["local"] += weight * F.mse_loss(mine, twice)
        totals["global"] += weight * F.mse_loss(mine.mean((2, 3)), twice.mean((2, 3)))
        regions = find_regions(source.label, mine.shape[-2:], 5)
        totals["regional"] += weight * regional_distance(mine, theirs[:2], regions)
    expected |= {f"srha.loss_{level}": value for level, value in totals.items()}
    losses = {name for name in log if "loss" in name}
    assert losses == expected.keys()
    for name, value in expected.items():
        assert log[name].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-7), name
    assert log["srha.loss_local"] > 0 and log["srha.loss_regional"] > 0
    stages = sum(w * log[f"srha.local.layer{k}"] for k, w in enumerate(WEIGHTS, 1))
    assert stages.item() == pytest.approx(log["srha.loss_local"].item(), rel=1e-5)


def test_at_the_start_without_copies_nothing_has_to_be_aligned():
    log = step(srha(rearrangement=False))
    assert [log[f"srha.loss_{level}"].item() for level in LEVELS] == [0, 0, 0]
    assert "srha.loss_consistency" not in log and log["decode.loss_seg"] > 0


def test_what_the_teacher_sees():
    found = {}
    for inputs in ("shared", "independent", "original"):
        trainer = srha(teacher_inputs=inputs)
        weights = torch.eye(6).roll(1, 0).expand(2, 6, 6)  # every region another's style
        trainer.draw_weights = lambda present, weights=weights: weights
        found[inputs] = step(trainer)
    for name in (n for n in found["shared"] if "loss" in n):
        one, other = (found[inputs][name].item() for inputs in ("shared", "independent"))
        assert one == pytest.approx(other, rel=1e-5), name
    # without the copies the statistics of its BatchNorm are others
    ratio = found["original"]["srha.loss_local"] / found["shared"]["srha.loss_local"]
    assert abs(ratio - 1) > 1e-3


def test_independent_copies_are_drawn_anew():
    shared, independent = srha(), srha(teacher_inputs="independent")
    draws = []
    draw = independent.draw_weights
    independent.draw_weights = lambda present: draws.append(draw(present)) or draws[-1]
    one, other = step(shared), step(independent)
    assert len(draws) == 2 and not torch.equal(*draws)
    assert one["decode.loss_seg"] == other["decode.loss_seg"]
    assert one["srha.loss_local"] != other["srha.loss_local"]


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_the_teacher_never_changes(norm):
    trainer = srha(teacher_bn=norm)
    before = state(trainer.teacher.network)
    assert same(before, state(trainer.model.backbone))
    wrapper = sgd(trainer)
    for number in range(3):
        trainer.train_step(random_batch(number), wrapper)
    assert same(before, state(trainer.teacher.network))
    assert not same(before, state(trainer.model.backbone))
    names = trainer.state_dict().keys()
    assert [n for n in names if not n.startswith("model.")] == ["step", "teacher.fingerprint"]
    mine = {id(p) for p in trainer.teacher.network.parameters()}
    optimized = {id(p) for g in wrapper.optimizer.param_groups for p in g["params"]}
    assert not mine & optimized and not mine & {id(p) for p in trainer.parameters()}


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_the_teacher_is_synchronised_with_the_student(norm):
    """Without a forward pass, which torch has on GPUs only."""
    trainer = convert_sync_batchnorm(srha(teacher_bn=norm), "torch")
    trainer.teacher.set_modes(trainer.model.backbone)
    kinds = {
        name: (type(m), m.training, m.track_running_stats)
        for name, m in trainer.teacher.network.named_modules()
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
    }
    assert len(kinds) > 10
    for name, kind in kinds.items():
        training = norm == "batch" and not name.startswith("layer0")
        assert kind == (torch.nn.SyncBatchNorm, training, norm == "running"), name


def test_running_statistics_give_another_teacher():
    batch, running = step(srha()), step(srha(teacher_bn="running"))
    assert batch["decode.loss_seg"] == running["decode.loss_seg"]
    assert abs(running["srha.loss_local"] / batch["srha.loss_local"] - 1) > 0.01


def test_the_teacher_keeps_the_initial_weights_when_a_checkpoint_is_loaded(tmp_path):
    torch.manual_seed(7)
    network = StagedBackbone("resnet50", width=0.125, depth=0.25)
    initial = state(network)
    torch.save(initial, tmp_path / "imagenet.pth")
    weights = dict(type="BackboneWeights", checkpoint=str(tmp_path / "imagenet.pth"))
    trained = srha(staged_config(init_cfg=weights))
    step(trained)
    resumed = srha(staged_config(init_cfg=weights))
    resumed.load_state_dict(trained.state_dict())
    assert same(state(resumed.model), state(trained.model))
    assert same(state(resumed.teacher.network), initial)
    other = srha()  # without the file
    with pytest.raises(UserError, match="the alignment would change in the middle"):
        other.load_state_dict(trained.state_dict())


def test_the_stem_is_frozen_and_the_stages_are_not():
    trainer = srha()
    stem, stages = (state(trainer.model.backbone.layer0), state(trainer.model.backbone.layer2))
    step(trainer)
    assert same(stem, state(trainer.model.backbone.layer0))
    after = state(trainer.model.backbone.layer2)
    assert all(not torch.equal(stages[n], after[n]) for n in stages if "running" in n)


def test_a_trainable_stem_learns_and_the_teacher_has_its_own():
    trainer = srha(staged_config(frozen_stages=()))
    before = state(trainer.model.backbone.layer0)
    wrapper = sgd(trainer)
    trainer.train_step(random_batch(0), wrapper)
    assert not same(before, state(trainer.model.backbone.layer0))
    assert same(before, state(trainer.teacher.network.layer0))
    trainer.train_step(random_batch(1), wrapper)
    seen = []
    stem = trainer.teacher.stem
    trainer.teacher.stem = lambda image: seen.append(stem(image)) or seen[-1]
    trainer.train_step(random_batch(2), wrapper)
    assert len(seen) == 1


def test_the_average_of_the_student():
    trainer = srha(alpha=0.6)
    wrapper = sgd(trainer, lr=0.1)
    students = []
    for number in range(3):
        students.append(state(trainer.model.backbone))
        trainer.train_step(random_batch(number), wrapper)
    name = "layer2.0.conv1.weight"
    expected = students[0][name]
    for t in (1, 2):
        a = min(1 - 1 / (t + 1), 0.6)
        expected = a * expected + (1 - a) * students[t][name]
    torch.testing.assert_close(trainer.ema_backbone.state_dict()[name], expected)
    buffer = "layer2.0.bn1.running_var"
    assert torch.equal(trainer.ema_backbone.state_dict()[buffer], students[0][buffer])
    assert f"ema_backbone.{name}" in trainer.state_dict()


SWITCHES = {
    "rearrangement": dict(rearrangement=False),
    "concentration": dict(concentration=4.0),
    "global off": dict(alignment_levels=("regional", "local")),
    "regional off": dict(alignment_levels=("global", "local")),
    "local off": dict(alignment_levels=("global", "regional")),
    "no alignment": dict(alignment_levels=()),
    "weights of layers": dict(alignment_weights=(0, 0, 0, 1)),
    "layers": dict(alignment_layers=(4,), alignment_weights=(1.0,)),
    "consistency": dict(consistency_weight=0),
    "ignore": dict(ignore_as_region=False),
    "inputs": dict(teacher_inputs="original"),
    "statistics": dict(teacher_bn="running"),
    "style elimination": dict(segmentor=staged_config(standardize=False)),
    "stem": dict(segmentor=staged_config(frozen_stages=())),
}


@pytest.fixture(scope="module")
def published_step():
    trainer = srha()
    log = step(trainer)
    return log, state(trainer.model)


@pytest.mark.parametrize("name", SWITCHES)
def test_switches(published_step, name):
    """Each changes what the student learns; what is off is not computed."""
    log, weights = published_step
    trainer = srha(**SWITCHES[name])
    found = step(trainer)
    assert not same(state(trainer.model), weights)
    absent = {n for n in log if "loss" in n} - found.keys()
    assert absent == {
        "rearrangement": {"srha.loss_consistency"},
        "consistency": {"srha.loss_consistency"},
        "global off": {"srha.loss_global"},
        "regional off": {"srha.loss_regional"},
        "local off": {"srha.loss_local"},
        "no alignment": {f"srha.loss_{level}" for level in LEVELS},
    }.get(name, set())
    if name == "no alignment":
        assert trainer.teacher is None
    if name in ("layers", "weights of layers"):
        assert trainer.alignment.layers == (4,)


def test_prediction_does_not_know_labels_and_treats_images_alone():
    trainer = srha()
    step(trainer)
    trainer.eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        both = trainer(images)
        single = torch.cat([trainer(images[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(both, single, rtol=1e-4, atol=1e-5)
    h = trainer.model.backbone.stem(images)
    features = trainer.model.backbone.forward_stages(instance_standardize(h))
    for one, other in zip(features, trainer.model.extract_feat(images), strict=True):
        torch.testing.assert_close(one, other)
    known, unknown = (random_batch()["source"] for _ in range(2))
    for sample in (*known["data_samples"], *unknown["data_samples"]):
        sample.set_metainfo(dict(ori_shape=(32, 32)))
    for sample in unknown["data_samples"]:
        sample.gt_sem_seg.data.fill_(255)
    predictions = [[s.seg_logits.data for s in trainer.val_step(b)] for b in (known, unknown)]
    assert all(map(torch.equal, *predictions))


def test_mask2former():
    pytest.importorskip("transformers")
    trainer = srha(mask_config())
    wrapper = sgd(trainer)
    log = trainer.train_step(random_batch(0), wrapper)
    losses = {name for name in log if "loss" in name}
    assert losses == {
        *(f"decode.loss_{part}" for part in ("cls", "mask", "dice")),
        *(f"srha.loss_{part}" for part in (*LEVELS, "consistency")),
    }
    source = source_batch(random_batch(1)["source"], trainer.model.data_preprocessor)
    with torch.no_grad():
        features, output = trainer.forward_stages(
            instance_standardize(trainer.model.backbone.stem(source.image)).repeat(2, 1, 1, 1)
        )
        scores = output.masks.scores((32, 32))
        found = trainer.consistency_loss(output, source)
    expected = 10 * js_divergence(scores[:2], scores[2:]).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-7)


def test_two_parameter_groups():
    trainer = srha()
    encoder, heads = sgd(trainer).optimizer.param_groups
    assert (encoder["lr"], heads["lr"]) == (0.005, 0.01)
    assert encoder["weight_decay"] == heads["weight_decay"] == 5e-4
    model = trainer.model
    stages = {p for stage in model.backbone.stages for p in stage.parameters()}
    assert set(encoder["params"]) == stages
    others = {*model.decode_head.parameters(), *model.auxiliary_head.parameters()}
    assert set(heads["params"]) == others  # norms and biases, too


@pytest.mark.parametrize("segmentor", [nano_config(), nano_hrda_config()])
def test_an_encoder_that_is_not_in_stages(segmentor):
    with pytest.raises(UserError, match="between stem and stages"):
        SRHA(segmentor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(teacher_inputs="mine"), "uda.teacher_inputs='mine'"),
        (dict(teacher_bn="eval"), "uda.teacher_bn='eval'"),
        (dict(concentration=0), "above 0"),
        (dict(alpha=1.5), r"alpha in \[0, 1\]"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        SRHA(staged_config(), **options)


def test_unknown_options_are_named():
    from mmengine.config import Config

    cfg = Config(dict(model=staged_config(), uda=dict(type="SRHA", concentartion=1)))
    with pytest.raises(UserError, match=r"Did you mean uda\.concentration"):
        wrap_model(cfg)


def test_a_batch_norm_of_single_values_is_explained():
    trainer = srha(rearrangement=False)
    with pytest.raises(UserError, match="one value per channel from 1 image of 32x32"):
        trainer.train_step(random_batch(0, batch=1), sgd(trainer))
