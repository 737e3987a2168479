"""Student and teacher on one frozen encoder: sharing, steps, resume, publishing."""

import copy
import zipfile

import pytest
import torch
from mmengine.config import Config, ConfigDict
from nano import optimizer, random_batch
from vfm import vfm_uda_network

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.apis import init_segmentor, publish
from mmseg_uda.engine.checkpoint import in_common, load_trainer_state
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import atomic_save
from mmseg_uda.self_training import SelfTraining

TOKENS = dict(type="MaskedConsistency", unit="tokens", shared_draws=False)


def trainer(kind="soma", **options):
    torch.manual_seed(0)
    adapter = dict(type="rein", tokens=4) if kind == "rein" else dict(type=kind, rank=2)
    network = vfm_uda_network(8, 3, 2, 5, trainable="adapters", adapter=adapter)
    host = SelfTraining(ConfigDict(network), seed=3, pseudo_threshold=0.1, **options)
    host.init_weights()
    return host.train()


def frozen(network):
    return {n: p for n, p in network.backbone.named_parameters() if not p.requires_grad}


def test_frozen_weights_are_shared_and_stay():
    for kind in ("lora", "soma", "rein"):
        host = trainer(kind, masking=TOKENS)
        names = frozen(host.model)
        assert "mask_token" not in names and "pos_embed" in names
        teacher = dict(host.ema_model.backbone.named_parameters())
        student = dict(host.model.backbone.named_parameters())
        shared = {n for n in student if teacher[n].data_ptr() == student[n].data_ptr()}
        assert shared == set(names)
        before = {n: p.clone() for n, p in names.items()}
        wrapper = optimizer(host)
        for number in range(3):
            host.train_step(random_batch(number, 2, (64, 64), 5), wrapper)
        assert all(torch.equal(p, before[n]) for n, p in frozen(host.model).items())
        moved = {n for n in student if not torch.equal(student[n], teacher[n])}
        assert moved == set(student) - shared  # the mask token, too


@pytest.mark.parametrize("kind", ["lora", "soma", "rein"])
def test_a_step_with_recomputed_blocks_is_the_same(kind):
    states = []
    for execution in (None, dict(recompute=["backbone"])):
        host = trainer(kind, masking=TOKENS, execution=execution)
        before = {n: p.clone() for n, p in host.model.named_parameters()}
        host.train_step(random_batch(0, 2, (64, 64), 5), optimizer(host))
        states.append(dict(host.model.named_parameters()))
    moved = {n for n, p in states[1].items() if not torch.equal(p, before[n])}
    assert moved == {n for n, p in states[1].items() if p.requires_grad}
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-6), name


def test_it_resumes_bit_for_bit_and_shares_again():
    host, wrapper = trainer(masking=TOKENS), None
    wrapper = optimizer(host)
    for number in range(2):
        host.train_step(random_batch(number, 2, (64, 64), 5), wrapper)
    state = copy.deepcopy(host.state_dict())
    steps = copy.deepcopy(wrapper.state_dict())
    host.train_step(random_batch(2, 2, (64, 64), 5), wrapper)

    resumed = trainer(masking=TOKENS)
    torch.manual_seed(9)
    meta = dict(format_version=1)
    load_trainer_state(resumed, dict(state_dict=state, meta=meta), "here", whole=True)
    assert len(in_common(resumed.state_dict())) == len(frozen(resumed.model))
    wrapper = optimizer(resumed)
    wrapper.load_state_dict(steps)
    resumed.train_step(random_batch(2, 2, (64, 64), 5), wrapper)
    for name, value in host.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name

    state["ema_model.backbone.pos_embed"] = state["model.backbone.pos_embed"] + 1
    try:
        load_trainer_state(resumed, dict(state_dict=state, meta=meta), "here", whole=True)
    except UserError as error:
        assert "pos_embed" in str(error) and "one frozen tensor" in str(error)
    else:
        raise AssertionError("other values for a shared tensor were taken")


def test_a_checkpoint_holds_what_is_shared_once(tmp_path):
    state = trainer().state_dict()
    atomic_save({"state_dict": state}, tmp_path / "iter_1.pth")
    with zipfile.ZipFile(tmp_path / "iter_1.pth") as archive:
        stored = [name for name in archive.namelist() if "/data/" in name]
    shared = in_common(state)
    assert len(shared) == 40 and len(stored) == len(state) - len(shared)


def test_a_published_student_is_a_plain_encoder(tmp_path):
    host = trainer()
    with torch.no_grad():
        for parameter in host.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    config = Config(
        dict(
            model=vfm_uda_network(
                8, 3, 2, 5, trainable="adapters", adapter=dict(type="soma", rank=2)
            ),
            test_pipeline=[dict(type="LoadFrame"), dict(type="PackFields")],
        )
    )
    checkpoint = tmp_path / "iter_1.pth"
    atomic_save({"state_dict": host.state_dict(), "meta": {}}, checkpoint)
    path = publish(checkpoint, tmp_path / "student.pth", config=config)
    published = init_segmentor(None, path, device="cpu")
    assert published.backbone.adapted_layers() == []
    assert not any(".lora_" in name for name in published.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours = host.model.eval().encode_decode(image, [])
        assert torch.allclose(published.encode_decode(image, []), ours, atol=1e-4)
