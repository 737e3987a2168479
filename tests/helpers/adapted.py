"""A training of adapters on a frozen encoder, as it leaves base weights and a checkpoint behind."""

import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from runtime import runtime
from safetensors.torch import save_file
from vfm import vfm_uda_network

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.models.weights import atomic_save
from mmseg_uda.self_training import SelfTraining

BASE = "tiny_base"
ADAPTERS = {
    "lora": dict(type="lora", rank=2),
    "soma": dict(type="soma", rank=2, first_block=0),
    "released": dict(type="soma", rank=2, init_from="released", targets=("q", "fc1")),
    "rein": dict(type="rein", tokens=4),
}


def write_base(root, seed=0):
    """Weights of a tiny encoder, without a mask token, as timm's files."""
    torch.manual_seed(seed)
    encoder = MODELS.build(vfm_uda_network(8, 3, 2, 5)["backbone"])
    state = {k: v for k, v in encoder.state_dict().items() if k != "mask_token"}
    save_file(state, root / f"{BASE}.safetensors")


def adapted_config(kind, **backbone):
    """Config of the training; ``kind`` is a key of ADAPTERS, or 'none' for a frozen encoder."""
    options = dict(trainable="none", **backbone)
    if kind != "none":
        options |= dict(trainable="adapters", adapter=ADAPTERS[kind])
    init_cfg = dict(type="BackboneWeights", checkpoint=BASE)
    cfg = runtime()
    cfg.merge_from_dict(
        dict(
            model=vfm_uda_network(8, 3, 2, 5, init_cfg=init_cfg, **options),
            uda=dict(type="SelfTraining"),
            test_pipeline=[dict(type="LoadFrame"), dict(type="PackFields")],
        )
    )
    return cfg


def train_adapters(kind, folder, **backbone):
    """A checkpoint whose trained tensors have moved; base weights are in the pretrained folders."""
    torch.manual_seed(1)
    cfg = adapted_config(kind, **backbone)
    host = SelfTraining(ConfigDict(cfg.model.to_dict()), seed=3)
    host.init_weights()
    with torch.no_grad():
        for network in (host.model, host.ema_model):
            for name, parameter in network.named_parameters():
                if parameter.requires_grad or "lora_" in name or "rein" in name or "head" in name:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    checkpoint = folder / f"{kind}.pth"
    meta = dict(cfg=cfg.pretty_text, iter=5, format_version=1)
    atomic_save(dict(meta=meta, state_dict=host.state_dict()), checkpoint)
    return cfg, checkpoint
