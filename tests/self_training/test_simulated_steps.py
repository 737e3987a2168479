"""Every trainer and component on a simulated GPU: devices fit, and the host does not wait."""

import importlib
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from every_part import ROLES, batch, build, prepare
from mmengine.config import ConfigDict
from nano import nano_config, nano_hrda_config, optimizer, random_batch
from staged import mask_config, sgd, srha
from torch import nn
from vfm import vfm_uda_network

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import Supervised
from mmseg_uda.engine.optim_wrapper_dict import AdversarialConstructor
from mmseg_uda.methods.advseg import AdversarialTraining
from mmseg_uda.methods.dynalign import Retraining
from mmseg_uda.methods.minent import EntropyMinimization
from mmseg_uda.models.heads.layers import InterlacedAttention
from mmseg_uda.self_training import COMPONENTS, Component, SelfTraining

SIZE = (64, 64)
MASKING = dict(type="MaskedConsistency", block_size=8, alpha=0.9)
DISTANCE = dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.5)
ALWAYS = dict(pseudo_threshold=0.2, jitter_probability=1.0, blur_probability=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    prepare(folder)
    return folder


def step(gpu, trainer, batches, wrapper=None, **options):
    """The waits of the last of some steps, and the optimizer's wrapper."""
    trainer.to("cuda")
    wrapper = wrapper or optimizer(trainer, **options)
    for data in batches:
        gpu.waits.clear()
        trainer.train_step(data, wrapper)
    # the loader's batches are not pinned, all else is
    assert {copy.where.partition(":")[0] for copy in gpu.unpinned} == {"datasets/preprocessor.py"}
    return gpu.waits, wrapper


def waits(gpu, trainer, size=SIZE, **options):
    return step(gpu, trainer, [random_batch(0, size=size)], **options)[0]


def network(hrda=False, size=SIZE):
    return ConfigDict(nano_hrda_config(size=size) if hrda else nano_config(size=size))


def mit():
    cfg = network(hrda=True, size=(128, 128))
    cfg.backbone = dict(type="MiT", variant="b0", embed_dims=16, num_layers=(1, 1, 1, 1))
    cfg.decode_head.in_channels = [16, 32, 80, 128]
    fusion = dict(type="aspp", sep=True, dilations=(1, 6), norm_cfg=dict(type="BN"))
    cfg.decode_head.decoder_params.fusion_cfg = fusion
    cfg.hr_crop_size = (64, 64)
    return cfg


def deeplabv2():
    cfg = network()
    head = dict(type="DLV2Head", in_channels=24, in_index=3, dilations=(1, 2), num_classes=5)
    cfg.decode_head = head
    return cfg


def hosted(cfg, **options):
    trainer = SelfTraining(cfg, **ALWAYS, **options)
    trainer.init_weights()
    return trainer.train()


def boxes(shape):
    """What the device answers to CSI: the whole image for a box that passes everything."""
    rows = torch.ones(shape)
    if len(shape) == 3:
        rows[..., 1] = 0  # entry
        rows[..., 2:4] = rows[..., 6:8] = 0
        rows[..., 4:6] = rows[..., 8:10] = 64
    return rows


@pytest.mark.parametrize("kind", sorted(ROLES))
def test_a_component_keeps_to_its_budget(kind, folder, simulated_gpu):
    trainer = build(folder, kind)
    if kind == "TaxonomyRelabeling":
        simulated_gpu.answer = boxes
    # CDDA opens its bank in the first step
    found, _ = step(simulated_gpu, trainer, [batch(i) for i in range(2)])
    module = COMPONENTS.get(kind).__module__.removeprefix("mmseg_uda.").replace(".", "/")
    assert len(found) == COMPONENTS.get(kind).host_waits, found
    assert all(str(wait).startswith(str(Path(module).parent)) for wait in found)


@pytest.mark.parametrize("kind", sorted(set(ROLES) - {"PseudoLabelQuality"}))
def test_the_budget_stands_on_the_card(kind):
    component = COMPONENTS.get(kind)
    package = importlib.import_module(component.__module__.rpartition(".")[0])
    card = (Path(package.__file__).parent / "README.md").read_text()
    budget = re.search(r"\*\*Waits of the host for the GPU, per step:\*\* (\d)", card)
    assert int(budget[1]) == component.host_waits


class Planted(Component):
    """A component with a mistake that nothing but a GPU shows."""

    def __init__(self, mistake):
        super().__init__()
        self.mistake = mistake

    def source_losses(self, ctx, source, output):
        logits = output.logits[0].logits.float()
        if self.mistake == "item":
            return {"loss_planted": logits.mean() * (logits.detach().max().item() + 1)}
        if self.mistake == "tensor of the host":
            return {"loss_planted": (logits * torch.ones(logits.shape)).mean()}
        return {"loss_planted": logits[logits > 0].mean()}


@pytest.mark.parametrize("mistake", ["item", "tensor of the host", "boolean index"])
def test_a_planted_mistake_is_found(mistake, simulated_gpu, monkeypatch):
    monkeypatch.setitem(COMPONENTS.module_dict, "Planted", Planted)
    trainer = hosted(network(size=(32, 32)), planted=dict(type="Planted", mistake=mistake))
    if mistake == "tensor of the host":
        with pytest.raises(RuntimeError, match="two different devices"):
            waits(simulated_gpu, trainer, (32, 32))
        return
    (wait,) = waits(simulated_gpu, trainer, (32, 32))
    assert "source_losses" in str(wait)


NETWORKS = {
    "hrda on mit": mit,
    "deeplabv2": deeplabv2,
    "vision transformer": lambda: ConfigDict(vfm_uda_network(dim=8, depth=1, heads=2, classes=5)),
}


@pytest.fixture
def unfused(monkeypatch):
    """Attention that CUDA has no fused kernel for, so that it would hold all pairs of tokens."""
    found, attend = [], F.scaled_dot_product_attention

    def look(query, key, value, attn_mask=None, **options):
        parts = (query, key, value)
        numbers = 16 // query.element_size()  # kernels read 16 bytes at a time
        aligned = all(x.stride(-1) == 1 and x.shape[-1] % numbers == 0 for x in parts)
        if attn_mask is not None or {x.dim() for x in parts} != {4} or not aligned:
            found.append([(x.shape, x.stride()) for x in parts])
        return attend(query, key, value, attn_mask, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", look)
    return found


def test_attention_over_plain_matrices_is_unfused(unfused, simulated_gpu):
    x = torch.ones(2, 9, 8, device="cuda")
    F.scaled_dot_product_attention(x, x, x)
    F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])
    assert len(unfused) == 1


def test_interlaced_attention_is_fused(unfused, simulated_gpu):
    layer = InterlacedAttention(4, 16, 8, key_query_num_convs=1).cuda()
    layer(torch.ones(1, 4, 16, 24, device="cuda"))
    assert unfused == []


@pytest.mark.parametrize("cfg", NETWORKS.values(), ids=NETWORKS)
def test_the_host_with_each_network(cfg, simulated_gpu, unfused):
    cfg = cfg()
    trainer = hosted(cfg, feature_distance=DISTANCE, masking={**MASKING, "mode": "separatetrg"})
    wrong = []

    def look(module, inputs):
        if module.groups > 1 and not inputs[0].is_contiguous():
            wrong.append(module)

    for module in trainer.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(look)
    assert waits(simulated_gpu, trainer, tuple(cfg.data_preprocessor["size"])) == []
    assert wrong == unfused == []


@pytest.mark.parametrize("mode", ["separate", "separateaug", "separatesrc", "separatesrcaug"])
def test_each_way_to_mask(mode, simulated_gpu):
    masking = dict(type="MaskedConsistency", block_size=8, mode=mode)
    trainer = hosted(network(size=(32, 32)), masking=masking)
    assert waits(simulated_gpu, trainer, (32, 32)) == []


WAYS = {
    "bf16 and clipping": (dict(amp="bf16", clip_grad=dict(max_norm=1.0)), {}),
    "fp16": (dict(amp="fp16"), {}),
    "low memory": (
        dict(amp="bf16"),
        dict(recompute=["backbone", "decode_head"], frozen_dtype="bf16", channels_last=True),
    ),
}


@pytest.mark.parametrize(("options", "execution"), WAYS.values(), ids=WAYS)
def test_each_way_to_run_the_networks(options, execution, simulated_gpu, unfused):
    trainer = hosted(network(bool(execution)), feature_distance=DISTANCE, execution=execution)
    found, wrapper = step(simulated_gpu, trainer, [random_batch(0, size=SIZE)], **options)
    assert found == unfused == []
    assert {group["fused"] for group in wrapper.optimizer.param_groups} == {True}
    if execution:
        convolutions = [p for p in trainer.model.parameters() if p.dim() == 4]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)


def test_gradients_of_several_batches(simulated_gpu):
    trainer = hosted(network(size=(32, 32)))
    batches = [random_batch(i) for i in range(2)]
    found, _ = step(simulated_gpu, trainer, batches, accumulative_counts=2)
    assert found == []
    assert trainer._step == 1


def supervised():
    return Supervised(network())


def retraining():
    return Retraining(ConfigDict(nano_config(26, size=SIZE)), taxonomy_map="idd_v5")


def entropy():
    return EntropyMinimization(network())


TRAINERS = {"Supervised": supervised, "Retraining": retraining, "EntropyMinimization": entropy}


@pytest.mark.parametrize("make", TRAINERS.values(), ids=TRAINERS)
def test_the_other_trainers(make, simulated_gpu):
    trainer = make()
    trainer.init_weights()
    assert waits(simulated_gpu, trainer.train()) == []


def test_adversarial_training(simulated_gpu):
    trainer = AdversarialTraining(network(), seed=3)
    trainer.init_weights()
    sgd, adam = dict(type="SGD", lr=1e-3), dict(type="Adam", lr=1e-4)
    constructor = AdversarialConstructor(dict(optimizer=sgd, discriminator=adam))
    wrapper = constructor(trainer.to("cuda").train())
    assert step(simulated_gpu, trainer, [random_batch(0, size=SIZE)], wrapper)[0] == []


def test_srha(simulated_gpu):
    trainer = srha().to("cuda")
    assert step(simulated_gpu, trainer, [random_batch(0)], sgd(trainer))[0] == []


def test_mask2former_waits_in_its_library_alone(simulated_gpu):
    """Masks are matched to classes on the host, by scipy, as published."""
    trainer = srha(ConfigDict(mask_config())).to("cuda")
    found, _ = step(simulated_gpu, trainer, [random_batch(0)], sgd(trainer))
    places = {wait.where.partition(":")[0] for wait in found}
    assert places == {"models/mask_classification.py", "models/heads/mask2former.py"}
