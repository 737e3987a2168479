"""CDDA's component: pseudo-labels, pasted images and guidance by depth-distribution similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_uda.datasets.transforms.depth import FIELD
from mmseg_uda.engine.options import check_choice
from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda.bank import DepthBank
from mmseg_uda.methods.cdda.checks import check_bank, check_numbers
from mmseg_uda.methods.cdda.crop_reader import CropReader, LoadedCrop, inside, place, send
from mmseg_uda.methods.cdda.decision import Decision, HostDecision, decide, read_decision
from mmseg_uda.methods.cdda.guidance import SCOPES, TRIGGERS, depth_bins, guidance_loss
from mmseg_uda.methods.cdda.histogram import depth_histogram, whole_bins
from mmseg_uda.methods.cdda.opening import SEARCH_DEVICES, class_ids, make_search, open_bank
from mmseg_uda.methods.cdda.pictures import crop_panels, decision_panels
from mmseg_uda.methods.cdda.schedule import threshold
from mmseg_uda.methods.cdda.search import BankSearch, Match
from mmseg_uda.methods.cdda.weights import MASKS, reweight
from mmseg_uda.models.views import upsample
from mmseg_uda.self_training.component import Component, StepContext
from mmseg_uda.self_training.records import PseudoLabels, SourceBatch, TargetBatch
from mmseg_uda.self_training.registry import COMPONENTS
from mmseg_uda.taxonomy import resolve_data_root

if TYPE_CHECKING:
    from mmseg_uda.self_training.self_training import SelfTraining


@dataclass(frozen=True)
class _Step:
    """What the stages of one step hand on, on the labels' device.

    Attributes:
        decision: What the host acts on; None if it need not know.
        table: (B, C, 256) float32 soft mass of missing classes.
        flagged: (B,) bool, images with a soft label.
        bins: (B, H, W) int64 depth bins.
        requests: Crops being read, by position in the batch.
    """

    decision: HostDecision | None
    table: Tensor
    flagged: Tensor
    bins: Tensor
    requests: Mapping[int, Future[LoadedCrop]]


@COMPONENTS.register_module()
class DepthSimilarity(Component):
    """Class-wise depth-distribution similarity (CDDA).

    The counts of a target image's pseudo-labels by class and depth are compared with those of a
    bank of source crops. If the best match scores above a threshold, pseudo-labels are weighted
    by how well their class matches, and the match is pasted in place of the source image; classes
    that it has and the pseudo-label lacks guide the student through a soft label. Waits for the
    device once per step, for the decisions; not at all with ``reweight`` alone.

    Args:
        bank: Folder of the bank of source crops, or a ``.pth`` matrix of CDDA's own tool. A
            leading ``data/`` follows MMSEG_UDA_DATA_ROOT.
        reweight_threshold: Score above which pseudo-labels are reweighted and the source replaced.
        relabel_threshold: Score above which missing classes guide the student.
        threshold_decay: Taken off both at each decrement.
        decay_begin, decay_end, decay_interval: Steps of the decrements; see ``decay_count``.
        sim_low, sim_high: Similarities between which a class's weight rises from 0 to 1.
        skip_classes: Classes, by name or id, whose weights stay: ``auto`` are those that do not
            occur in the bank.
        reweight, replace_source, guidance: Switches for the three uses of a match.
        reweight_mask: ``class``, or ``first_row`` as CDDA's released code computes it; see
            ``reweight``. The published numbers were presumably made with the latter.
        guidance_weight: Factor on the guidance loss, times the share of confident pixels.
        guidance_trigger: ``any`` missing class that occurs at a depth of the target starts the
            pass; ``last``: as the released code decides, see ``triggered``. Needs depth as
            float32.
        guidance_scope: ``batch``: images without a soft label take part with their pseudo-label,
            as published; ``flagged``: their loss is 0.
        guidance_valid_mask: Whether margins are left out of the guidance loss (published: no).
        min_class_pixels: Classes with fewer pixels in the pseudo-label do not count.
        max_prob: Replaces a missing class's probability of 1.
        search_device: ``auto``: the GPU if the bank fits well, else the CPU; ``cuda``; ``cpu``;
            ``mmap``: the CPU without holding the bank in memory.
        prefetch: Read crops in the background.
        build: Build a bank that is missing with these options (``count``, ``sampling``, ``seed``,
            ``workers``; see ``BankDraws``). None: a missing bank is an error.

    Raises:
        UserError: For a configuration that cannot work; for a bank that does not fit, when the
            training starts.
    """

    order = 20
    target_fields = (FIELD,)

    def __init__(
        self,
        bank: str,
        reweight_threshold: float = 0.56,
        relabel_threshold: float = 0.54,
        threshold_decay: float = 0.0025,
        decay_begin: int = 10000,
        decay_end: int = 40000,
        decay_interval: int = 1000,
        sim_low: float = 0.1,
        sim_high: float = 0.75,
        skip_classes: str | Sequence[str | int] = "auto",
        reweight: bool = True,
        replace_source: bool = True,
        guidance: bool = True,
        reweight_mask: str = "class",
        guidance_weight: float = 0.1,
        guidance_trigger: str = "any",
        guidance_scope: str = "batch",
        guidance_valid_mask: bool = False,
        min_class_pixels: int = 1,
        max_prob: float = 0.99999,
        search_device: str = "auto",
        prefetch: bool = True,
        build: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_choice("uda.depth.reweight_mask", reweight_mask, MASKS)
        check_choice("uda.depth.guidance_trigger", guidance_trigger, TRIGGERS)
        check_choice("uda.depth.guidance_scope", guidance_scope, SCOPES)
        check_choice("uda.depth.search_device", search_device, SEARCH_DEVICES)
        check_numbers(
            sim_low=sim_low,
            sim_high=sim_high,
            max_prob=max_prob,
            decay=(decay_begin, decay_end, decay_interval),
            min_class_pixels=min_class_pixels,
            build=build,
        )
        self.bank_path = Path(resolve_data_root(bank))
        self.start = (reweight_threshold, relabel_threshold)
        self.decay = (threshold_decay, decay_begin, decay_end, decay_interval)
        self.sim_range = (sim_low, sim_high)
        self.skip_classes = skip_classes
        self.reweight, self.replace_source, self.guidance = reweight, replace_source, guidance
        self.reweight_mask = reweight_mask
        self.guidance_weight = guidance_weight
        self.guidance_trigger = guidance_trigger
        self.guidance_scope = guidance_scope
        self.guidance_valid_mask = guidance_valid_mask
        self.min_class_pixels = min_class_pixels
        self.max_prob = max_prob
        self.search_device = search_device
        self.prefetch = prefetch
        self.build = build
        self.runs_alone = guidance  # type: ignore[misc]  # the pass depends on each process's match
        #: Of the bank that the checkpoint was trained with; 0 before the first step.
        self.register_buffer("bank_fingerprint", torch.zeros(32, dtype=torch.uint8))
        self.bank: DepthBank | None = None
        self._search: BankSearch | None = None
        self._skip: Tensor | None = None
        self._reader: CropReader | None = None
        self._now: _Step | None = None

    def bind(self, host: SelfTraining) -> None:
        """Check the host and resolve the skipped classes."""
        if host.source_only:
            raise UserError(
                "uda.source_only=True leaves uda.depth without pseudo-labels.",
                "Set uda.depth=None, or uda.source_only=False.",
            )
        self._skipped_ids: list[int] | None = None
        if self.skip_classes != "auto":
            self._skipped_ids = class_ids(self.skip_classes, host)

    def before_training(self, host: SelfTraining, data: Dataset | None) -> None:
        """Build the bank if there is none, and check that it fits."""
        self.bank = open_bank(self.bank_path, self.build, data)
        exact_depth = self.guidance and self.guidance_trigger == "last"
        check_bank(self.bank, host, data, self.build, self.replace_source, exact_depth)
        self._remember()

    def _remember(self) -> None:
        assert self.bank is not None
        own = torch.tensor(list(self.bank.fingerprint), dtype=torch.uint8)
        stored = self.bank_fingerprint.cpu()
        if stored.any() and not torch.equal(stored, own):
            raise UserError(
                f"The bank in {self.bank_path} is not the one that this run was trained with.",
                "Put the bank back that the run started with, or start in a new work directory.",
            )
        self.bank_fingerprint.copy_(own)

    def _searcher(self, host: SelfTraining, device: torch.device) -> BankSearch:
        if self._search is None:
            if self.bank is None:  # a trainer used without a runner
                self.before_training(host, None)
            assert self.bank is not None
            self._search = make_search(self.bank, self.search_device, device, self.min_class_pixels)
            self._reader = CropReader(
                self.bank, pinned=device.type == "cuda", background=self.prefetch
            )
            skip = self._search.norms.pixels.sum(1) == 0
            if self._skipped_ids is not None:
                skip = torch.zeros_like(skip)
                skip[self._skipped_ids] = True
            self._skip = skip
        return self._search

    def thresholds(self, step: int) -> tuple[float, float]:
        """Thresholds of reweighting and replacement, and of guidance, at ``step``."""
        decay, *steps = self.decay
        first, second = (threshold(start, decay, step, *steps) for start in self.start)
        return first, second

    @torch.no_grad()
    def refine_weights(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """Search the bank, decide, start reading, and edit the weights."""
        label, depth = pseudo.label, target.fields[FIELD].squeeze(1)
        search = self._searcher(ctx.host, label.device)
        valid = inside(target)
        pixels = depth_histogram(label, depth, ctx.host.num_classes, valid).to(search.device)
        thresholds = self.thresholds(ctx.step)
        match = search(pixels, floor=min(thresholds))
        last = self.guidance_trigger == "last"
        exact = whole_bins(depth, valid).to(search.device) if last else None
        decision = decide(match, pixels, thresholds, self.guidance_trigger, self.max_prob, exact)
        self._now = self._start(ctx, match, decision, depth_bins(depth, valid))
        weight = pseudo.weight
        if self.reweight:
            assert self._skip is not None
            skip = self._skip | (pixels.sum(-1) < self.min_class_pixels)
            weight = reweight(
                weight,
                label,
                pseudo.confident,
                send(match.similarity, label.device),
                low=self.sim_range[0],
                high=self.sim_range[1],
                skip=send(skip, label.device),
                gate=send(decision.similar, label.device),
                mask=self.reweight_mask,
            )
        self._log(ctx, match, decision, thresholds, weight)
        if ctx.draws:
            self.show(*decision_panels(match, self._now.table, depth, pseudo, weight))
        return replace(pseudo, weight=weight)

    def _start(self, ctx: StepContext, match: Match, decision: Decision, bins: Tensor) -> _Step:
        """Tell the host, which starts to read the crops that it will need."""
        device = bins.device
        table, flagged = send(decision.table.float(), device), send(decision.flagged, device)
        if not (self.replace_source or self.guidance or ctx.draws):
            return _Step(None, table, flagged, bins, {})
        known = read_decision(match, decision)
        wanted = {i for i, similar in enumerate(known.similar) if similar and self.replace_source}
        if ctx.draws:
            wanted = set(range(len(known.similar)))
        assert self._reader is not None
        requests = {i: self._reader.request(known.entries[i]) for i in sorted(wanted)}
        return _Step(known, table, flagged, bins, requests)

    def _log(
        self,
        ctx: StepContext,
        match: Match,
        decision: Decision,
        thresholds: tuple[float, float],
        weight: Tensor,
    ) -> None:
        for name, value in {
            "score_mean": match.score.mean(),
            "match_rate": decision.similar.float().mean(),
            "guidance_rate": decision.guided,
            "n_missing": decision.missing.sum(1).float().mean(),
        }.items():
            ctx.log(f"cdda.{name}", value.float() if value.is_cuda else float(value))
        ctx.log("cdda.weight_mean", weight.mean())
        ctx.log("cdda.reweight_threshold", thresholds[0])
        ctx.log("cdda.relabel_threshold", thresholds[1])

    def choose_source(
        self, ctx: StepContext, source: SourceBatch, target: TargetBatch, pseudo: PseudoLabels
    ) -> SourceBatch:
        """The matched crops in place of the source images that they replace."""
        now = self._now
        if now is None or now.decision is None or not now.requests:
            return source
        crops = {i: request.result() for i, request in now.requests.items()}
        ignore, where = ctx.host.ignore_index, str(self.bank_path)
        if ctx.draws:
            matched = place(source, crops, ignore, where)
            self.show(*crop_panels(matched, now.decision, self.replace_source))
        similar = now.decision.similar
        chosen = {i: c for i, c in crops.items() if similar[i] and self.replace_source}
        return place(source, chosen, ignore, where)

    def target_losses(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> dict[str, Tensor]:
        """Cross-entropy of the clean target images against the soft label, if triggered."""
        now, self._now = self._now, None
        if not self.guidance or now is None or now.decision is None:
            return {}
        if not now.decision.guided:
            ctx.log("tgt.loss_guidance", 0.0)
            return {}
        host = ctx.host
        output = host.forward_student(target.image)
        main = next(view for view in output.logits if not view.name)
        logits = upsample(main.logits, pseudo.label.shape[-2:], host.model.align_corners)
        valid = host.valid_pixels(target) if self.guidance_valid_mask else None
        if self.guidance_scope == "flagged":
            chosen = now.flagged.view(-1, 1, 1).float()
            valid = chosen if valid is None else valid * chosen
        loss = guidance_loss(
            logits,
            pseudo.label,
            now.bins,
            now.table,
            pseudo.share,
            self.guidance_weight,
            valid,
            now.decision.missing,
        )
        return {"tgt.loss_guidance": loss}
