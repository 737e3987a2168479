"""What tests run in several processes: the main job's trainer on random batches."""

import itertools
import os
import signal

import torch
from fixed_run import FixedBatches, FixedImages, config
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model.utils import convert_sync_batchnorm
from mmseg.registry import DATASETS, HOOKS
from nano import nano_config, nano_hrda_config, optimizer, random_batch
from staged import sgd, srha
from vfm import vfm_uda_network

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.datasets import PairSampler
from mmseg_uda.engine import Supervised, build_runner
from mmseg_uda.engine.checkpoint import in_common
from mmseg_uda.engine.distributed import StepDataParallel
from mmseg_uda.engine.exchange import StepExchange, running_statistics
from mmseg_uda.engine.processes import from_main_process
from mmseg_uda.errors import UserError
from mmseg_uda.evaluation import MultiTargetIoU
from mmseg_uda.foundation import CROP_CLASSIFIERS, DETECTORS, CropClassifier, Detector
from mmseg_uda.self_training import COMPONENTS, Component, SelfTraining, StepRandom

# BatchNorm needs more than one value per channel, in HRDA's context pass at half size too.
SIZE = (128, 128)
CAR = 13


@DETECTORS.register_module()
class OneBoxDetector(Detector):
    """A truck in the upper left of every image, more certain in the second process."""

    def __init__(self, preprocess="?", dtype="?"):
        pass

    def detect(self, images, prompts, background=()):
        logits = torch.full((len(images), 1, len(prompts)), -30.0, device=images.device)
        logits[..., prompts.index("truck")] = get_rank()
        corners = torch.full((len(images), 1, 4), 0.4, device=images.device)
        corners[..., 2:] = 0.6
        return logits, corners


@CROP_CLASSIFIERS.register_module()
class AgreeingClassifier(CropClassifier):
    """Finds a truck in every crop."""

    input_size = embed_dim = 8
    cache_key = "stand-in"

    def __init__(self, crop_mode="?", preprocess="?", dtype="?", chunk=0):
        pass

    def logit_scale(self, device):
        return torch.ones((), device=device)

    def encode_text(self, prompts, device):
        raise NotImplementedError

    encode_image = encode_text

    def classify(self, images, prompts, boxes=None, index=None):
        logits = torch.zeros(len(boxes), len(prompts), device=boxes.device)
        logits[:, prompts.index("truck")] = 20.0
        return logits


@COMPONENTS.register_module()
class LossInOneProcess(Component):
    """A further loss and backward pass, in the second process only.

    Args:
        kind: ``labels``: the labelled images once more. From step 2 on ``nan``: a loss that is
            not finite; ``logged``: one that is logged only; ``slope``: a finite loss with a
            gradient that is not.
    """

    runs_alone = True

    def __init__(self, kind="labels"):
        super().__init__()
        self.kind = kind

    def late_losses(self, ctx, source, target, pseudo):
        if ctx.random.rank != 1 or (self.kind != "labels" and ctx.step < 2):
            return {}
        if self.kind == "logged":
            ctx.log("alone.loss", torch.tensor(torch.inf))
            return {}
        host = ctx.host
        losses = host.loss(host.forward_student(source.image), source.label)
        value = losses["decode.loss_seg"]
        if self.kind == "nan":
            value = value * torch.nan
        elif self.kind == "slope":
            value = value + ((value - value) * 1.0).sqrt()
        return {"alone.loss": value}


def relabelling(**changes):
    """CSI without foundation models: collect in steps 0 and 1, relabel from step 2 on."""
    return {
        "type": "TaxonomyRelabeling",
        "mapping": [{"target": "truck"}],
        "collect": (0, 2),
        "relabel": (2, 100),
        "detector": {"type": "OneBoxDetector"},
        "classifier": {"type": "AgreeingClassifier"},
        **changes,
    }


def main_job(hrda=True, **options):
    """The trainer with every component of the main job, on a network that often names cars."""
    torch.manual_seed(0)
    segmentor = nano_hrda_config(19, SIZE) if hrda else nano_config(19, size=SIZE)
    if hrda:
        segmentor["hr_crop_size"] = (64, 64)
    segmentor["decode_head"]["dropout_ratio"] = 0.2
    components = dict(
        feature_distance=dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.5),
        masking=dict(type="MaskedConsistency", mode="separatetrgaug", block_size=16, alpha=0.9),
        relabel=relabelling(),
    )
    options = {**components, "pseudo_threshold": 0.1, "taxonomy": "cityscapes19", **options}
    trainer = SelfTraining(segmentor, seed=3, **options)
    trainer.init_weights()
    for name, parameter in trainer.named_parameters():
        if name.endswith("conv_seg.bias"):
            parameter.data[CAR] += 2
    return trainer.train()


def batch(rank, number=0):
    """One image per domain, another for every process and step."""
    return random_batch(100 * number + rank, batch=1, size=SIZE)


def watch_gradients(trainer, wrapper):
    """A list that gets every step's gradients, as the optimizer sees them."""
    steps = []

    def note(*_):
        named = trainer.model.named_parameters()
        steps.append({n: None if p.grad is None else p.grad.clone() for n, p in named})

    wrapper.optimizer.register_step_pre_hook(note)
    return steps


def train(steps, options=None, wrapper_options=None, make_batch=batch):
    """Train in every process; gradients by step, states before each step and at the end."""
    trainer = main_job(**(options or {}))
    wrapper = optimizer(trainer, **(wrapper_options or {}))
    model = StepDataParallel(trainer)
    gradients = watch_gradients(trainer, wrapper)
    calls = count_all_reduces()
    states, reductions, logs = [], [], []
    for number in range(steps):
        states.append(snapshot(trainer))
        before = len(calls)
        logs.append(model.train_step(make_batch(get_rank(), number), wrapper))
        reductions.append(len(calls) - before)
    trainer.before_save()
    states.append(snapshot(trainer))
    return dict(gradients=gradients, states=states, reductions=reductions, logs=logs)


def alone(state, rank, batches, options=None, wrapper_options=None, make_batch=batch):
    """The gradient of one process that takes over ``state`` and the random numbers of ``rank``."""
    trainer = main_job(**(options or {}))
    trainer.load_state_dict(state)
    trainer.random = StepRandom(3, rank)
    wrapper = optimizer(trainer, **(wrapper_options or {}))
    (gradients,) = [watch_gradients(trainer, wrapper)]
    for number in batches:
        trainer.train_step(make_batch(rank, number), wrapper)
    return gradients[0]


def snapshot(trainer):
    return {name: value.clone() for name, value in trainer.state_dict().items()}


def count_all_reduces():
    """A list that grows with every reduction of this process."""
    calls = []
    original = torch.distributed.all_reduce

    def counting(tensor, *args, **kwargs):
        calls.append(tensor.numel())
        return original(tensor, *args, **kwargs)

    torch.distributed.all_reduce = counting
    return calls


def exchange_of_parts(bucket_mib):
    """Gradients present everywhere, in one process and nowhere; two dtypes; statistics."""
    rank = get_rank()
    torch.manual_seed(rank)
    everywhere, half = torch.nn.Parameter(torch.zeros(5, 3)), torch.nn.Parameter(torch.zeros(7))
    once, never = torch.nn.Parameter(torch.zeros(4)), torch.nn.Parameter(torch.zeros(6))
    half.data = half.data.bfloat16()
    everywhere.grad = torch.full((3, 5), rank + 1.0).t()  # another memory layout
    half.grad = torch.full((7,), 2.0 * rank).bfloat16()
    if rank == 1:
        once.grad = torch.arange(4.0)
    norm = torch.nn.BatchNorm2d(2, momentum=None)
    norm.running_mean.fill_(rank)
    norm.num_batches_tracked.fill_(10_000_003)
    parameters = [everywhere, once, half, never]
    exchange = StepExchange(parameters, running_statistics(norm), bucket_mib)
    calls = count_all_reduces()
    flags = exchange(torch.tensor([0.0, float(rank)]))
    return dict(
        gradients=[p.grad for p in parameters],
        norm=norm.state_dict(),
        flags=flags,
        calls=len(calls),
        world=get_world_size(),
    )


def validate(work_dir, changes):
    """The metrics of an untrained network."""
    torch.manual_seed(0)
    cfg = config(work_dir, 2, **{"uda.feature_distance": None, "uda.masking": None, **changes})
    cfg.launcher = "pytorch"
    return build_runner(cfg).val()


def run_config(work_dir, steps, changes=None):
    """A run of ``fixed_run`` with every component of the main job, through the runner."""
    cfg = config(work_dir, steps, **(changes or {}))
    cfg.launcher = "pytorch"
    cfg.model = nano_config(19, dropout=0.2)
    cfg.uda.update(
        taxonomy="cityscapes19",
        pseudo_threshold=0.05,
        masking=dict(type="MaskedConsistency", mode="separatetrgaug", block_size=8, alpha=0.9),
        relabel=relabelling(collect=(1, 5), relabel=(5, 100)),
    )
    runner = build_runner(cfg)
    runner.train()
    return runner.iter


def run_plain_transformer(work_dir, steps, adapter, changes=None):
    """A run with masked tokens on a small plain transformer, whole or with an adapter."""
    cfg = config(work_dir, steps, **(changes or {}))
    cfg.launcher = "pytorch"
    trainable = "adapters" if adapter else "all"
    cfg.model = vfm_uda_network(8, 2, 2, 5, trainable=trainable, adapter=adapter)
    cfg.model.data_preprocessor.size = (32, 32)
    masking = dict(type="MaskedConsistency", unit="tokens", shared_draws=False)
    cfg.uda = dict(type="SelfTraining", pseudo_threshold=0.1, teacher_flip=True, masking=masking)
    runner = build_runner(cfg)
    runner.train()
    trainer = runner.model.module if hasattr(runner.model, "module") else runner.model
    return len(in_common(trainer.state_dict()))


@HOOKS.register_module()
class KilledHook(Hook):
    """Ends this process as kill -9 does, before step ``step``."""

    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


@DATASETS.register_module()
class BrokenInOneProcess(FixedBatches):
    """Has a file that only the second process comes to see."""

    def __getitem__(self, index):
        if get_rank() == 1:
            raise UserError(f"images/{index}.png is no picture.")
        return super().__getitem__(index)


@DATASETS.register_module()
class ThreeImages(FixedImages):
    """An odd number of images for validation."""

    def __len__(self):
        return 3


def positions(seed, number):
    """The first positions of this process in the stream of pairs."""
    return [position for _, position in itertools.islice(PairSampler(range(9), seed), number)]


def dropped_pixels(trainer_type):
    """Which of 64 values dropout keeps in the first two steps of a trainer."""
    kept = []
    classes = {"SelfTraining": SelfTraining, "Supervised": Supervised}
    trainer = classes[trainer_type](nano_config(5), seed=1)
    trainer.init_weights()
    original = trainer.run_step

    def spy(*args):
        original(*args)
        kept.append(torch.nn.functional.dropout(torch.ones(64)) > 0)

    trainer.run_step = spy
    model, wrapper = StepDataParallel(trainer.train()), optimizer(trainer)
    for number in range(2):
        model.train_step(random_batch(number), wrapper)
    return kept


def decide(fails):
    """A decision of the first process, and how often this one computed it."""
    calls = []

    def compute():
        calls.append(1)
        if fails:
            raise UserError("No file.", fix="Make one.")
        return get_rank() + 7

    return from_main_process(compute), len(calls)


def evaluate_targets():
    """Scores of three targets with 3, 3 and 1 images, dealt as a validation deals them."""
    sizes = {"a": 3, "b": 3, "c": 1}
    random = torch.Generator().manual_seed(0)
    images = [
        (target, *torch.randint(0, 19, (2, 1, 6, 7), generator=random))
        for target, size in sizes.items()
        for _ in range(size)
    ]
    metric = MultiTargetIoU()
    metric.dataset_meta = {"targets": sizes}
    for index in DefaultSampler(images, shuffle=False, round_up=False):
        target, prediction, label = images[index]
        metric.process(
            None,
            [
                {
                    "pred_sem_seg": {"data": prediction},
                    "gt_sem_seg": {"data": label},
                    "img_path": f"{index}.png",
                    "target": target,
                }
            ],
        )
    return metric.evaluate(len(images))


def srha_batch(rank, number):
    return random_batch(100 * number + rank)


def srha_together(steps):
    """SRHA in every process: gradients and states by step, the teacher, the weights drawn."""
    trainer = srha(seed=3)
    wrapper = sgd(trainer)
    model = StepDataParallel(trainer)
    gradients = watch_gradients(trainer, wrapper)
    calls = count_all_reduces()
    states, reductions, weights = [], [], []
    draw = trainer.draw_weights
    trainer.draw_weights = lambda present: weights.append(draw(present)) or weights[-1]
    for number in range(steps):
        states.append(snapshot(trainer))
        before = len(calls)
        model.train_step(srha_batch(get_rank(), number), wrapper)
        reductions.append(len(calls) - before)
    states.append(snapshot(trainer))
    teacher = torch.cat([p.flatten() for p in trainer.teacher.network.parameters()])
    return dict(
        gradients=gradients,
        states=states,
        reductions=reductions,
        teacher=teacher,
        weights=weights[0],
    )


def srha_alone(state, rank, number):
    """The gradient of one process that takes over ``state`` and the random numbers of ``rank``."""
    trainer = srha(seed=3)
    trainer.load_state_dict(state)
    trainer.random = StepRandom(3, rank)
    wrapper = sgd(trainer)
    gradients = watch_gradients(trainer, wrapper)
    trainer.train_step(srha_batch(rank, number), wrapper)
    return gradients[0]


def srha_synchronised():
    """A step on a GPU with synchronised BatchNorm and without copies."""
    device = torch.device("cuda", get_rank() % torch.cuda.device_count())
    trainer = convert_sync_batchnorm(srha(rearrangement=False), "torch").to(device)
    kept = snapshot(trainer.teacher.network)
    log = StepDataParallel(trainer).train_step(srha_batch(get_rank(), 0), sgd(trainer))

    def converted(network):
        return any(isinstance(m, torch.nn.SyncBatchNorm) for m in network.modules())

    after = snapshot(trainer.teacher.network)
    return dict(
        student=converted(trainer.model),
        teacher=converted(trainer.teacher.network),
        distances=[log[f"srha.loss_{k}"].item() for k in ("global", "regional", "local")],
        unchanged=all(torch.equal(kept[name], after[name]) for name in kept),
    )
