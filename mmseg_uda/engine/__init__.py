"""What all trainers share: step bookkeeping, optimizer groups, checkpoints, job files."""

from mmseg_uda.engine.checkpoint_hook import SafeCheckpointHook
from mmseg_uda.engine.finite import FiniteCheck, NonFiniteError
from mmseg_uda.engine.job_files import DeferredScalarsHook, JobFilesHook
from mmseg_uda.engine.optim_constructor import ReferenceNameConstructor
from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.plain_checkpoint import PlainCheckpointHook
from mmseg_uda.engine.runner import AdaptationRunner, build_runner, wrap_model
from mmseg_uda.engine.supervised import Supervised
from mmseg_uda.engine.train_loop import TrainLoop
from mmseg_uda.engine.trainer import Trainer
from mmseg_uda.engine.tta import StreamingTTAModel
from mmseg_uda.engine.warmup_linear import WarmupLinear

__all__ = [
    "AdaptationRunner",
    "DeferredScalarsHook",
    "FiniteCheck",
    "JobFilesHook",
    "NonFiniteError",
    "PlainCheckpointHook",
    "ReferenceNameConstructor",
    "SafeCheckpointHook",
    "StepOptimWrapper",
    "StreamingTTAModel",
    "Supervised",
    "TrainLoop",
    "Trainer",
    "WarmupLinear",
    "build_runner",
    "wrap_model",
]
