"""The self-training host and the protocol of the components that plug into it."""

from mmseg_uda.engine.records import SourceBatch, TargetBatch
from mmseg_uda.self_training.component import Component, StepContext
from mmseg_uda.self_training.quality import PseudoLabelQuality
from mmseg_uda.self_training.random import StepRandom
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels
from mmseg_uda.self_training.registry import COMPONENTS
from mmseg_uda.self_training.self_training import SelfTraining
from mmseg_uda.self_training.teacher import EmaTeacher

__all__ = [
    "COMPONENTS",
    "Component",
    "EmaTeacher",
    "MixedBatch",
    "PseudoLabelQuality",
    "PseudoLabels",
    "SelfTraining",
    "SourceBatch",
    "StepContext",
    "StepRandom",
    "TargetBatch",
]
