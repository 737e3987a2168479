"""Networks and options for tests of dynamic subdomains."""

import torch.nn.functional as F
from nano import nano_config, nano_hrda_config, optimizer, random_batch

SIZE = (64, 64)
# Confident pixels in an untrained network of five classes.
LOW = dict(pseudo_threshold=0.21)
PRIOR = [0.4, 0.3, 0.2, 0.09, 0.01]


def dlv2_config(num_classes=5, size=SIZE):
    """The nano network with DeepLabV2's decoder, which has no dropout."""
    cfg = nano_config(num_classes, size=size)
    cfg["decode_head"] = dict(
        type="DLV2Head",
        in_channels=24,
        in_index=3,
        dilations=(1, 2),
        num_classes=num_classes,
        loss_decode=dict(type="PixelCrossEntropy"),
    )
    return cfg


NETWORKS = {
    "hrda": lambda: nano_hrda_config(size=SIZE),
    "daformer": lambda: nano_config(dropout=0.3, size=SIZE),
    "dlv2": dlv2_config,
}
# What a preset says on each of them.
UNCERTAINTY = {"hrda": {}, "daformer": {}, "dlv2": {"dropout": 0.1}}

RELEASED = dict(
    uncertainty={"source": "none"},
    absent_class="all",
    uncertainty_loss_weight=1.0,
    crf_loss_weight=0.0,
    weight_map="mixed_alias",
)


def subdomains(**options):
    """Config of the component for five classes."""
    return dict(type="DynamicSubdomains", **{"class_prior": PRIOR, **options})


class Recorder:
    """Keeps what the component saw and gave in a step."""

    def __init__(self, trainer):
        component = trainer.components["subdomains"]
        self.losses, self.pseudo, self.target, self.mixed = {}, None, None, None
        self.outputs = []
        losses, mixing = component.target_losses, component.after_mixing
        forward = trainer.forward_student

        def target_losses(ctx, target, pseudo):
            self.pseudo, self.target = pseudo, target
            self.uncertainty = ctx.notes[component].uncertainty
            self.losses = losses(ctx, target, pseudo)
            return self.losses

        def after_mixing(ctx, mixed):
            self.mixed = mixed
            mixing(ctx, mixed)

        def forward_student(*args, **kwargs):
            self.outputs.append(forward(*args, **kwargs))
            return self.outputs[-1]

        component.target_losses = target_losses
        component.after_mixing = after_mixing
        trainer.forward_student = forward_student

    @property
    def target_output(self):
        return self.outputs[1]  # source, target, mixed


def cross_entropy(view, label, weight):
    """Weighted mean over all pixels of a prediction's region."""
    if view.box is not None:
        label, weight = view.box.crop(label), view.box.crop(weight)
    logits = F.interpolate(view.logits, label.shape[-2:], mode="bilinear", align_corners=False)
    return (F.cross_entropy(logits, label, reduction="none") * weight).mean()


def total(losses):
    return sum(value for name, value in losses.items() if "loss" in name)


def gradients(trainer):
    trainer.run_step(random_batch(0, size=SIZE), optimizer(trainer))
    return [p.grad.clone() for p in trainer.model.parameters()]
