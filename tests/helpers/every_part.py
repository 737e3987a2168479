"""Every registered component on a tiny network, for tests that all of them share.

A component that is registered and not listed here fails ``test_every_component.py``.
"""

import ast
import inspect

import torch
from depth_tasks import OPEN, car_bank, component, depth_batch
from mmengine.structures import PixelData
from nano import nano_config, nano_hrda_config, optimizer, random_batch
from process_tasks import CAR, SIZE, relabelling
from vfm import vit

from mmseg_uda.engine.distributed import StepDataParallel
from mmseg_uda.self_training import SelfTraining

# Role of each component type.
ROLES = {
    "FeatureDistance": "feature_distance",
    "TaxonomyRelabeling": "relabel",
    "DepthSimilarity": "depth",
    "DynamicSubdomains": "subdomains",
    "MaskedConsistency": "masking",
    "PseudoLabelQuality": "diagnosis",
    "FeatureDistillation": "distillation",
}
# Those that wait for the device once per step, as their docstrings say.
WAITING = {"TaxonomyRelabeling", "DepthSimilarity"}
CLASSES = 19


def options_of(kind, folder):
    """The config of a component that does something in every step from the third one on."""
    return {
        "FeatureDistance": dict(type=kind, classes=[1, 2, 3, CAR], min_ratio=0.5),
        "TaxonomyRelabeling": relabelling(),
        "DepthSimilarity": component(folder / "bank", **OPEN),
        "DynamicSubdomains": dict(type=kind),
        "MaskedConsistency": dict(type=kind, mode="separatetrgaug", block_size=16, alpha=0.9),
        "PseudoLabelQuality": dict(type=kind),
        "FeatureDistillation": dict(type=kind, teacher=vit(), teacher_size=42, in_channels=24),
    }[kind]


def documented_options(options):
    """Fields of a class of options, and of those above it, that have a docstring."""
    return {
        before.target.id
        for kind in options.__mro__[:-1]
        for body in ast.parse(inspect.getsource(kind)).body
        for before, after in zip(body.body, body.body[1:], strict=False)
        if isinstance(before, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(getattr(after.value, "value", None), str)
    }


def prepare(folder):
    """Write what a component reads from disk."""
    car_bank(folder / "bank")


def build(folder, kind=None, hrda=False, switched_off=False):
    """A host with one component, or with the component's role set to None."""
    torch.manual_seed(0)
    segmentor = nano_hrda_config(CLASSES, SIZE) if hrda else nano_config(CLASSES, 0.2, SIZE)
    parts = {}
    if kind is not None:
        parts[ROLES[kind]] = None if switched_off else options_of(kind, folder)
    host = dict(pseudo_threshold=0.055, taxonomy="cityscapes19", seed=3)
    trainer = SelfTraining(segmentor, **host, **parts)
    trainer.init_weights()
    for name, parameter in trainer.named_parameters():
        if name.endswith("conv_seg.bias"):
            parameter.data[CAR] += 2  # so that there is a car to relabel
    return trainer.train()


def batch(number, images=2):
    """A pair batch with every map that a component may ask for."""
    data = depth_batch(number, images, size=SIZE, num_classes=CLASSES)
    labels = random_batch(1000 + number, images, SIZE, CLASSES)["source"]["data_samples"]
    rows = torch.arange(SIZE[0])[:, None] // 16
    for j, sample in enumerate(data["target"]["data_samples"]):
        sample.gt_depth_map.data[:] = 20 + 10 * ((rows + number + j) % 5)
        sample.diagnosis_label = PixelData(data=labels[j].gt_sem_seg.data)
    return data


def train(trainer, steps, wrapper=None, start=0):
    """Logs of some steps, and the optimizer's wrapper."""
    wrapper = wrapper or optimizer(trainer)
    return [trainer.train_step(batch(i), wrapper) for i in range(start, start + steps)], wrapper


def train_together(folder, kinds, steps):
    """In each of several processes: the state after some steps, by component."""
    states = {}
    for kind in kinds:
        trainer = build(folder, kind)
        model, wrapper = StepDataParallel(trainer), optimizer(trainer)
        for number in range(steps):
            rank = torch.distributed.get_rank()
            model.train_step(batch(100 * number + rank, 1), wrapper)
        trainer.before_save()
        states[kind] = {name: value.clone() for name, value in trainer.state_dict().items()}
    return states
