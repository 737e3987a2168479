"""AdvSeg: discriminator, what each loss trains, both optimizers, resume, and MIC on it."""

import copy

import pytest
import torch
from fixed_run import config
from nano import nano_config, nano_hrda_config, optimizer, random_batch
from resuming import differences, whole_and_killed

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import build_runner
from mmseg_uda.engine.optim_wrapper_dict import AdversarialConstructor
from mmseg_uda.errors import UserError
from mmseg_uda.methods.advseg import AdversarialTraining, Discriminator
from mmseg_uda.methods.advseg.discriminator import domain_loss

SIZE = (64, 64)
MASKING = dict(type="MaskedConsistency", mode="separatetrgaug", block_size=16)
AUXILIARY = dict(
    type="FCNHead",
    in_channels=16,
    in_index=2,
    channels=8,
    num_convs=1,
    concat_input=False,
    num_classes=5,
    loss_decode=dict(type="PixelCrossEntropy", loss_weight=0.4),
)


def build(hrda=False, auxiliary=False, **options):
    torch.manual_seed(0)
    segmentor = nano_hrda_config(5, SIZE) if hrda else nano_config(5, size=SIZE)
    if auxiliary:
        segmentor["auxiliary_head"] = AUXILIARY
    trainer = AdversarialTraining(segmentor, seed=3, **options)
    trainer.init_weights()
    return trainer.train()


def both(trainer, **options):
    """The optimizers of the published runs."""
    sgd = dict(type="SGD", lr=2.5e-3, momentum=0.9, weight_decay=5e-4)
    adam = dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))
    return AdversarialConstructor(dict(optimizer=sgd, discriminator=adam, **options))(trainer)


def batch(number):
    return random_batch(number, size=SIZE)


def train(trainer, wrapper, steps=1):
    return [trainer.train_step(batch(number), wrapper) for number in range(steps)]


def test_the_discriminators_shape():
    network = Discriminator(19)
    convs = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.kernel_size, c.stride, c.padding) for c in convs] == [((4, 4), (2, 2), (1, 1))] * 5
    assert [c.out_channels for c in convs] == [64, 128, 256, 512, 1]
    slopes = [m.negative_slope for m in network.modules() if isinstance(m, torch.nn.LeakyReLU)]
    assert slopes == [0.2] * 4
    with torch.device("meta"):
        scores = Discriminator(19)(torch.empty(1, 19, 512, 1024))
    assert scores.shape == (1, 1, 16, 32)


def test_domain_losses():
    scores = torch.tensor([[[[0.0, 2.0]]]])
    assert float(domain_loss(scores, 0.0, "LS")) == 2.0  # (0 + 4) / 2
    assert float(domain_loss(scores, 1.0, "LS")) == 1.0  # (1 + 1) / 2
    expected = (torch.log(torch.tensor(2.0)) + 2 + torch.log1p(torch.exp(torch.tensor(-2.0)))) / 2
    assert torch.allclose(domain_loss(scores, 0.0, "Vanilla"), expected)


@pytest.mark.parametrize("gan", ["LS", "Vanilla"])
def test_each_optimizer_updates_its_own_network(gan):
    trainer = build(gan=gan)
    wrapper = both(trainer)
    sgd, adam = (one.optimizer for one in wrapper.values())
    own = {id(p) for p in trainer.discriminators.parameters()}
    assert {id(p) for g in adam.param_groups for p in g["params"]} == own
    assert not own & {id(p) for g in sgd.param_groups for p in g["params"]}
    assert all(p.requires_grad for p in trainer.discriminators.parameters())
    before = copy.deepcopy(trainer.state_dict())
    (scalars,) = train(trainer, wrapper)
    assert {
        "decode.loss_seg",
        "target.loss_adv",
        "discriminator.loss_source",
        "discriminator.loss_target",
    } <= scalars.keys()
    changed = {n for n, p in trainer.named_parameters() if not torch.equal(before[n], p)}
    assert changed == {n for n, p in trainer.named_parameters()}
    assert int(trainer.step) == 1


def test_the_students_gradient_is_the_sum_of_its_two_losses():
    trainer = build(loss_weight=0.5)
    frozen = copy.deepcopy(trainer.discriminators)
    data = batch(0)
    preprocessor = trainer.model.data_preprocessor
    source = preprocessor(copy.deepcopy(data["source"]), True)
    target = preprocessor(copy.deepcopy(data["target"]), True)
    model = copy.deepcopy(trainer.model)
    label = torch.stack([s.gt_sem_seg.data[0] for s in source["data_samples"]])
    logits = model.decode_head(model.extract_feat(source["inputs"]))
    up = torch.nn.functional.interpolate
    logits = up(logits, size=SIZE, mode="bilinear", align_corners=False)
    loss = torch.nn.functional.cross_entropy(logits, label, ignore_index=255, reduction="none")
    scores = model.decode_head(model.extract_feat(target["inputs"]))
    scores = up(scores, size=SIZE, mode="bilinear", align_corners=False).softmax(dim=1)
    (loss.mean() + 0.5 * (frozen["main"](scores) ** 2).mean()).backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    wrapper = both(trainer)
    seen = {}
    wrapper.update = lambda hold=None: seen.update(
        {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    )
    trainer.train_step(data, wrapper)
    assert seen.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.allclose(seen[name], gradient, rtol=1e-4, atol=1e-7), name


def test_an_auxiliary_head_has_a_discriminator_and_a_weight_of_its_own():
    trainer = build(auxiliary=True, auxiliary_loss_weight=0.0)
    assert list(trainer.discriminators) == ["main", "aux"]
    (scalars,) = train(trainer, both(trainer))
    assert float(scalars["target.aux.loss_adv"]) == 0.0
    assert float(scalars["discriminator.aux.loss_source"]) > 0


def test_hrdas_fused_prediction_is_judged_at_half_size():
    trainer = build(hrda=True)
    seen = []
    trainer.discriminators["main"].register_forward_pre_hook(lambda _, x: seen.append(x[0].shape))
    train(trainer, both(trainer))
    assert seen == [(2, 5, 32, 32)] * 3


def test_masked_consistency_brings_its_own_teacher():
    """In the released code the trainer crashes without it, and warms up a teacher with it."""
    trainer = build(masking=MASKING)
    component = trainer.components["masking"]
    assert component.teacher is not None and component.teacher.alpha == 0.999
    scalars = train(trainer, both(trainer), 2)[1]
    assert {"masked.decode.loss_seg", "target.loss_adv"} <= scalars.keys()
    student = dict(trainer.model.named_parameters())
    for name, value in component.ema_model.named_parameters():
        assert not value.requires_grad
        assert not torch.equal(value, student[name]), name  # the mean of two students


def test_gradients_accumulate_in_both():
    trainer = build()
    wrapper = both(trainer, accumulative_counts=2)
    before = copy.deepcopy(trainer.discriminators.state_dict())
    trainer.train_step(batch(0), wrapper)
    now = trainer.discriminators.state_dict()
    assert all(torch.equal(before[name], now[name]) for name in before)
    trainer.train_step(batch(1), wrapper)
    assert int(trainer.step) == 1
    now = trainer.discriminators.state_dict()
    assert not any(torch.equal(before[name], now[name]) for name in before)


def test_a_bad_loss_holds_both_networks():
    trainer = build()
    trainer.discriminators["main"][-1].bias.data.fill_(float("inf"))
    before = copy.deepcopy(trainer.state_dict())
    with pytest.raises(UserError, match="target.loss_adv"):
        train(trainer, both(trainer))
    for name, value in trainer.named_parameters():
        assert torch.equal(before[name], value), name


class TestMistakes:
    def test_one_optimizer(self):
        trainer = build()
        with pytest.raises(UserError, match="optimizer for its discriminators") as error:
            trainer.train_step(batch(0), optimizer(trainer))
        assert "AdversarialConstructor" in error.value.fix

    def test_no_second_optimizer_in_the_config(self):
        with pytest.raises(UserError, match="second optimizer") as error:
            AdversarialConstructor(dict(optimizer=dict(type="SGD", lr=0.1)))
        assert "optim_wrapper.discriminator" in error.value.fix

    def test_a_trainer_without_discriminators(self):
        from mmseg_uda.methods.minent import EntropyMinimization

        with pytest.raises(UserError, match="has no discriminators"):
            both(EntropyMinimization(nano_config()))

    @pytest.mark.parametrize("role", ["depth", "subdomains"])
    def test_components_that_work_on_pseudo_labels(self, role):
        kind = {"depth": "DepthSimilarity", "subdomains": "DynamicSubdomains"}[role]
        with pytest.raises(UserError, match=f"uda.{role} works on pseudo-labels") as error:
            build(**{role: dict(type=kind, **({"bank": "none"} if role == "depth" else {}))})
        assert f"uda.{role}=None" in error.value.fix

    def test_unknown_options(self):
        with pytest.raises(UserError, match="uda.gan='WGAN' is unknown"):
            build(gan="WGAN")
        with pytest.raises(UserError, match=r"uda\.mix is neither an option"):
            build(mix="class")


OPTIMIZERS = {
    "optim_wrapper": dict(
        _delete_=True,
        type="StepOptimWrapper",
        constructor="AdversarialConstructor",
        optimizer=dict(type="SGD", lr=1e-2, momentum=0.9, weight_decay=5e-4),
        discriminator=dict(type="Adam", lr=1e-3, betas=(0.9, 0.99)),
    ),
    "param_scheduler": dict(
        _delete_=True,
        segmentor=[dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=7)],
        discriminator=[dict(type="PolyLR", power=0.9, eta_min=0, by_epoch=False, begin=0, end=7)],
    ),
    "uda": dict(_delete_=True, type="AdversarialTraining", masking=MASKING),
}


def job(folder, steps):
    return config(folder, steps, **copy.deepcopy(OPTIMIZERS))


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    whole, killed = whole_and_killed(job, tmp_path)
    assert any(name.startswith("discriminators.main.") for name in whole["state_dict"])
    assert set(whole["optimizer"]) == {"segmentor", "discriminator"}
    assert whole["optimizer"]["discriminator"]["state"]  # Adam's moments
    assert differences(whole, killed) == []


def test_the_discriminators_rate_has_a_curve_of_its_own(tmp_path):
    build_runner(job(tmp_path, 4)).train()
    checkpoint = torch.load(tmp_path / "iter_4.pth", weights_only=True)
    (group,) = checkpoint["optimizer"]["discriminator"]["param_groups"]
    # mmengine's curve ends a step before its end, at 6; the rate is that of the fifth step.
    assert group["lr"] == pytest.approx(1e-3 * (1 - 4 / 6) ** 0.9)
    assert checkpoint["optimizer"]["segmentor"]["param_groups"][0]["lr"] == pytest.approx(
        1e-2 * (1 - 4 / 6)
    )
