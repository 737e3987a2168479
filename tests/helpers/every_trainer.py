"""Every registered trainer on a tiny network, for tests that all of them share.

A trainer that is registered and not listed here fails ``test_every_trainer.py``.
"""

import torch
from mmengine.config import ConfigDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmseg.registry import MODELS
from nano import nano_config, random_batch
from staged import staged_config

from mmseg_uda.engine.distributed import StepDataParallel
from mmseg_uda.engine.trainer import Trainer
from mmseg_uda.taxonomy import load_taxonomy_map

MAP = "idd_v5"
PARTS = dict(
    feature_distance=dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.5),
    masking=dict(type="MaskedConsistency", mode="separatetrg", block_size=8, alpha=0.9),
)
# Options of each trainer, with which all that it keeps has to survive a resume.
TRAINERS = {
    "AdversarialTraining": {},
    "EntropyMinimization": {},
    "Retraining": dict(taxonomy_map=MAP),
    "SRHA": dict(teacher_inputs="independent", alpha=0.9),
    "SelfTraining": PARTS,
    "Supervised": dict(ema=dict(momentum=0.1, begin=2)),
}
CONSTRUCTORS = {
    "AdversarialTraining": dict(
        type="AdversarialConstructor",
        optim_wrapper_cfg=dict(discriminator=dict(type="Adam", lr=1e-4)),
    )
}


def registered():
    """Names of the package's trainers."""
    return sorted(
        name
        for name, kind in MODELS.module_dict.items()
        if issubclass(kind, Trainer) and kind.__module__.startswith("mmseg_uda.")
    )


def build(kind, seed=3):
    """A trainer with the same initial weights at every call."""
    torch.manual_seed(0)
    segmentor = nano_config(dropout=0.2)
    if kind == "SRHA":
        segmentor = staged_config()
    elif kind == "Retraining":
        segmentor = nano_config(len(load_taxonomy_map(MAP).target), 0.2)
    trainer = MODELS.build(ConfigDict(type=kind, segmentor=segmentor, seed=seed, **TRAINERS[kind]))
    trainer.init_weights()
    return trainer.train()


def optimizer(trainer, **options):
    """AdamW behind the wrapper that the trainer's configs ask for."""
    chosen = CONSTRUCTORS.get(type(trainer).__name__, {})
    wrapped = dict(
        optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01),
        **chosen.get("optim_wrapper_cfg", {}),
        **options,
    )
    kind = chosen.get("type", "ReferenceNameConstructor")
    return OPTIM_WRAPPER_CONSTRUCTORS.build(dict(type=kind, optim_wrapper_cfg=wrapped))(trainer)


def train(trainer, steps, wrapper=None, start=0):
    """Logs of some steps, and the optimizer's wrapper."""
    wrapper = wrapper or optimizer(trainer)
    return [
        trainer.train_step(random_batch(i), wrapper) for i in range(start, start + steps)
    ], wrapper


def train_together(kinds, steps):
    """In each of several processes: the state after some steps, by trainer."""
    states = {}
    for kind in kinds:
        trainer = build(kind)
        model, wrapper = StepDataParallel(trainer), optimizer(trainer)
        for number in range(steps):
            model.train_step(random_batch(100 * number + torch.distributed.get_rank()), wrapper)
        trainer.before_save()
        states[kind] = {name: value.clone() for name, value in trainer.state_dict().items()}
    return states
