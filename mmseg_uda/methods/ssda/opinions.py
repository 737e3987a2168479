"""The teacher's pass with what is needed to tell how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda.options import UncertaintyOptions
from mmseg_uda.methods.ssda.uncertainty import Disagreement, masked_logits
from mmseg_uda.models.classifier import decode_with_features, linear_classifiers
from mmseg_uda.models.views import decoded_views, full_logits, single_scale_head, upsample
from mmseg_uda.self_training.random import StepRandom
from mmseg_uda.self_training.teacher import EmaTeacher

# Keeps the logarithm of a mean probability finite.
_TINY = 1e-30


@dataclass(frozen=True)
class Opinion:
    """What the teacher says of a target batch.

    Attributes:
        logits: (N, C, H, W) float32 behind the pseudo-labels.
        uncertainty: (N, H, W) float32 in bits.
    """

    logits: Tensor
    uncertainty: Tensor


def resolve_source(options: UncertaintyOptions, segmentor: Any) -> str:
    """The source of uncertainty for a network, ``auto`` resolved.

    Raises:
        UserError: If it cannot work with this network, with the reason.
    """
    has_scales = hasattr(segmentor, "decoded_views")
    source = options.source
    if source == "auto":
        source = "scale_views" if has_scales else "mc_dropout"
    key = "uda.subdomains.uncertainty"
    if source == "scale_views" and not has_scales:
        raise UserError(
            f"{key}.source='scale_views' compares HRDA's scales, and {type(segmentor).__name__} "
            "has one.",
            fix=f"Use {key}.source='mc_dropout', or an HRDA segmentor.",
        )
    if source == "mc_dropout" and not dropout_rate(options, segmentor):
        head = single_scale_head(segmentor)
        given = "is given as 0" if options.dropout == 0 else "is not given"
        raise UserError(
            f"{key}.source='mc_dropout' compares predictions under dropout, but "
            f"{type(head).__name__} has none and {key}.dropout {given}: all passes would be equal, "
            "the uncertainty 0 everywhere, and every pixel a seed.",
            fix=f"Set {key}.dropout=0.1, which puts channel dropout before the classifier, or "
            "another source.",
        )
    if source == "mc_dropout":
        linear_classifiers(single_scale_head(segmentor))
    if source == "repeat":
        for enabled, kind, found in (
            (options.enable_dropout, "dropout", _modules(segmentor, dropout=True)),
            (options.enable_droppath, "droppath", _modules(segmentor, droppath=True)),
        ):
            if enabled and not found:
                raise UserError(
                    f"{key}.enable_{kind}=True, but the network has no {kind} with a rate above "
                    "0: all passes would be equal and the uncertainty 0 everywhere.",
                    fix=f"Give the network a {kind} rate, or use another source.",
                )
    return source


def dropout_rate(options: UncertaintyOptions, segmentor: Any) -> float:
    """The rate of mc_dropout: the option's, else the decoder's own (0 without dropout)."""
    if options.dropout is not None:
        return options.dropout
    return float(getattr(single_scale_head(segmentor), "dropout_ratio", 0) or 0)


class OpinionPass:
    """Makes the teacher's pass.

    Args:
        options: Which predictions are compared.
        source: As :func:`resolve_source` gives it.
        pseudo_from: Behind the pseudo-labels: the ``deterministic`` pass (without dropout), the
            ``first`` of the compared predictions, or their ``mean`` probability.
    """

    def __init__(self, options: UncertaintyOptions, source: str, pseudo_from: str) -> None:
        self.options = options
        self.source = source
        self.pseudo_from = pseudo_from

    @property
    def count(self) -> int:
        """T, the number of predictions that are compared."""
        return {"none": 1, "scale_views": 3}.get(self.source, self.options.passes)

    @torch.no_grad()
    def __call__(self, teacher: EmaTeacher, image: Tensor, random: StepRandom) -> Opinion:
        """Predicts normalised images (N, 3, H, W)."""
        teacher.set_modes()
        if self.source == "none":
            logits = teacher.logits(image)
            return Opinion(logits, torch.zeros_like(logits[:, 0]))
        if self.source == "repeat":
            return self._repeat(teacher, image)
        network = teacher.network
        if self.source == "scale_views":
            views = decoded_views(network, image, attenuated_context=self.options.attenuated_lr)
            return self._compare(views[0], views, image, network.align_corners)
        decode = self._decoder(network, random)
        stacked = decoded_views(network, image, decode)[0]
        plain, *passes = stacked.split(network.num_classes, dim=1)
        return self._compare(plain, passes, image, network.align_corners)

    def _decoder(self, network: Any, random: StepRandom) -> Callable[[Sequence[Tensor]], Tensor]:
        """The decoder, followed by its last layer under T dropout masks.

        The masks are shared by the images and by both of HRDA's scales: they belong to the
        network that a pass stands for.
        """
        head = single_scale_head(network)
        classifiers = linear_classifiers(head)
        masks = random.dropout_masks(
            self.options.passes,
            classifiers[0].in_channels,
            dropout_rate(self.options, network),
            classifiers[0].weight.device,
        )

        def decode(inputs: Sequence[Tensor]) -> Tensor:
            logits, features = decode_with_features(head, inputs)
            return torch.cat([logits, masked_logits(features, classifiers, masks)], dim=1)

        return decode

    def _compare(
        self, plain: Tensor, views: Sequence[Tensor], image: Tensor, align_corners: bool
    ) -> Opinion:
        """Opinion from predictions at the decoder's resolution, enlarged one by one."""
        full = image.shape[-2:]
        size = full if self.options.at == "image" else plain.shape[-2:]
        opinions = Disagreement()
        for view in views:
            opinions.add(torch.softmax(upsample(view, size, align_corners), dim=1))
        uncertainty = upsample(opinions.divergence()[:, None], full, align_corners)[:, 0]
        if self.pseudo_from == "mean":
            logits = upsample(opinions.mean(), full, align_corners).clamp_min(_TINY).log()
        else:
            chosen = views[0] if self.pseudo_from == "first" else plain
            logits = upsample(chosen, full, align_corners)
        return Opinion(logits, uncertainty)

    def _repeat(self, teacher: EmaTeacher, image: Tensor) -> Opinion:
        options, network = self.options, teacher.network
        active = _modules(network, options.enable_dropout, options.enable_droppath)
        logits: Tensor | None = None
        if active and self.pseudo_from == "deterministic":
            logits = teacher.logits(image)
        for module in active:
            module.train()
        opinions = Disagreement()
        for _ in range(options.passes):
            one = full_logits(network, image).float()
            logits = one if logits is None else logits
            opinions.add(torch.softmax(one, dim=1))
        teacher.set_modes()
        assert logits is not None
        if self.pseudo_from == "mean":
            logits = opinions.mean().clamp_min(_TINY).log()
        return Opinion(logits, opinions.divergence())


def _modules(network: nn.Module, dropout: bool = False, droppath: bool = False) -> list[nn.Module]:
    """Active (rate above 0) dropout and stochastic-depth modules of a network."""
    found: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            found += [module] if dropout and module.p > 0 else []
        elif type(module).__name__ == "DropPath":
            found += [module] if droppath and (module.drop_prob or 0) > 0 else []
    return found


def views_disagreement(logits: Iterable[Tensor], size: Sequence[int]) -> Tensor:
    """Divergence (N, *size) of several logits, each enlarged; it can be differentiated."""
    opinions = Disagreement()
    for view in logits:
        opinions.add(torch.softmax(upsample(view, size), dim=1))
    return opinions.divergence()
