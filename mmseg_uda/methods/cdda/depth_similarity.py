"""CDDA's component: pseudo-labels, pasted images and guidance by depth-distribution similarity."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_uda.datasets.transforms.depth import FIELD
from mmseg_uda.engine.records import SourceBatch, TargetBatch, unpadded
from mmseg_uda.engine.transfer import to_device
from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda.bank import DepthBank
from mmseg_uda.methods.cdda.checks import check_bank
from mmseg_uda.methods.cdda.crop_reader import CropReader, LoadedCrop, place
from mmseg_uda.methods.cdda.decision import Decision, HostDecision, decide, read_decision
from mmseg_uda.methods.cdda.guidance import depth_bins, guidance_loss
from mmseg_uda.methods.cdda.histogram import coarsened, depth_histogram, whole_bins
from mmseg_uda.methods.cdda.opening import class_ids, make_search, open_bank
from mmseg_uda.methods.cdda.options import DepthOptions
from mmseg_uda.methods.cdda.pictures import crop_panels, decision_panels
from mmseg_uda.methods.cdda.search import BankSearch, Match
from mmseg_uda.methods.cdda.weights import reweight
from mmseg_uda.models.views import upsample
from mmseg_uda.self_training.component import Component, Host, StepContext
from mmseg_uda.self_training.records import PseudoLabels
from mmseg_uda.self_training.registry import COMPONENTS


@dataclass(frozen=True)
class _Step:
    """What the stages of one step hand on, on the labels' device.

    Attributes:
        decision: What the host acts on; None if it need not know.
        table: (B, C, K) float32 soft mass of missing classes.
        flagged: (B,) bool, images with a soft label.
        bins: (B, H, W) int64 depth bins, K where a depth is in none.
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

    Raises:
        UserError: For options that cannot work; for a bank that does not fit, when the training
            starts.
    """

    Options = DepthOptions
    order = 20
    host_waits = 1
    target_fields = (FIELD,)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        #: Of the bank that the checkpoint was trained with; 0 before the first step.
        self.register_buffer("bank_fingerprint", torch.zeros(32, dtype=torch.uint8))
        self.bank: DepthBank | None = None
        self._search: BankSearch | None = None
        self._skip: Tensor | None = None
        self._reader: CropReader | None = None

    @property
    def runs_alone(self) -> bool:  # type: ignore[override]
        """With guidance: that pass depends on each process's match."""
        return self.options.guidance

    def bind(self, host: Host) -> None:
        """Checks the host and resolves the skipped classes."""
        if host.options.source_only:
            raise UserError(
                "uda.source_only=True leaves uda.depth without pseudo-labels.",
                fix="Set uda.depth=None, or uda.source_only=False.",
            )
        self._skipped_ids: list[int] | None = None
        if self.options.skip_classes != "auto":
            self._skipped_ids = class_ids(self.options.skip_classes, host)

    def before_training(self, host: Host, data: Dataset | None) -> None:
        """Builds the bank if there is none, and checks that it fits."""
        self.bank = open_bank(self.options.bank_path, self.options.build, data)
        exact_depth = self.options.guidance and self.options.guidance_trigger == "last"
        check_bank(
            self.bank, host, data, self.options.build, self.options.replace_source, exact_depth
        )
        self._remember()

    def _remember(self) -> None:
        assert self.bank is not None
        own = torch.tensor(list(self.bank.fingerprint), dtype=torch.uint8)
        stored = self.bank_fingerprint.cpu()
        if stored.any() and not torch.equal(stored, own):
            raise UserError(
                f"The bank in {self.options.bank_path} is not the one that this run was trained "
                "with.",
                fix="Put the bank back that the run started with, or start in a new work "
                "directory.",
            )
        self.bank_fingerprint.copy_(own)

    def _searcher(self, host: Host, device: torch.device) -> BankSearch:
        if self._search is None:
            if self.bank is None:  # a trainer used without a runner
                self.before_training(host, None)
            assert self.bank is not None
            self._search = make_search(
                self.bank,
                self.options.search_device,
                device,
                self.options.min_class_pixels,
                self.options.bins,
            )
            self._reader = CropReader(
                self.bank, pinned=device.type == "cuda", background=self.options.prefetch
            )
            skip = self._search.norms.pixels.sum(1) == 0
            if self._skipped_ids is not None:
                skip = torch.zeros_like(skip)
                skip[self._skipped_ids] = True
            self._skip = skip
        return self._search

    @torch.no_grad()
    def refine_weights(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """Searches the bank, decides, starts reading, and edits the weights."""
        options, label, depth = self.options, pseudo.label, target.fields[FIELD].squeeze(1)
        search = self._searcher(ctx.host, label.device)
        valid = unpadded(target.image, target.metas)
        counts = depth_histogram(label, depth, ctx.host.num_classes, valid)
        pixels = coarsened(counts, options.bins).to(search.device)
        thresholds = options.thresholds(ctx.step)
        match = search(pixels, floor=min(thresholds))
        last = self.options.guidance_trigger == "last"
        exact = coarsened(whole_bins(depth, valid), options.bins) if last else None
        decision = decide(
            match,
            pixels,
            thresholds,
            self.options.guidance_trigger,
            self.options.max_prob,
            None if exact is None else exact.to(search.device),
        )
        bins = depth_bins(depth, valid, options.bins)
        now = self._start(ctx, match, decision, bins)
        ctx.notes[self] = now
        weight = pseudo.weight
        if options.reweight:
            assert self._skip is not None
            skip = self._skip | (pixels.sum(-1) < options.min_class_pixels)
            weight = reweight(
                weight,
                label,
                pseudo.confident,
                to_device(match.similarity, label.device),
                low=options.sim_low,
                high=options.sim_high,
                skip=to_device(skip, label.device),
                gate=to_device(decision.similar, label.device),
                mask=options.reweight_mask,
            )
        self._log(ctx, match, decision, thresholds, weight)
        if ctx.draws:
            ctx.show(*decision_panels(match, now.table, bins, depth, pseudo, weight))
        return replace(pseudo, weight=weight)

    def _start(self, ctx: StepContext, match: Match, decision: Decision, bins: Tensor) -> _Step:
        """Tells the host, which starts to read the crops that it will need."""
        device = bins.device
        table, flagged = (
            to_device(decision.table.float(), device),
            to_device(decision.flagged, device),
        )
        if not (self.options.replace_source or self.options.guidance or ctx.draws):
            return _Step(None, table, flagged, bins, {})
        known = read_decision(match, decision)
        wanted = {
            i for i, similar in enumerate(known.similar) if similar and self.options.replace_source
        }
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
        now = ctx.notes.get(self)
        if now is None or now.decision is None or not now.requests:
            return source
        crops = {i: request.result() for i, request in now.requests.items()}
        ignore, where = ctx.host.ignore_index, str(self.options.bank_path)
        if ctx.draws:
            matched = place(source, crops, ignore, where)
            ctx.show(*crop_panels(matched, now.decision, self.options.replace_source))
        similar = now.decision.similar
        chosen = {i: c for i, c in crops.items() if similar[i] and self.options.replace_source}
        return place(source, chosen, ignore, where)

    def target_losses(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> dict[str, Tensor]:
        """Cross-entropy of the clean target images against the soft label, if triggered."""
        now = ctx.notes.get(self)
        if not self.options.guidance or now is None or now.decision is None:
            return {}
        if not now.decision.guided:
            ctx.log("target.loss_guidance", 0.0)
            return {}
        host = ctx.host
        output = host.forward_student(target.image)
        main = next(view for view in output.logits if not view.name)
        logits = upsample(main.logits, pseudo.label.shape[-2:], host.model.align_corners)
        valid = host.valid_pixels(target) if self.options.guidance_valid_mask else None
        if self.options.guidance_scope == "flagged":
            chosen = now.flagged.view(-1, 1, 1).float()
            valid = chosen if valid is None else valid * chosen
        loss = guidance_loss(
            logits,
            pseudo.label,
            now.bins,
            now.table,
            pseudo.share,
            self.options.guidance_weight,
            valid,
            now.decision.missing,
        )
        return {"target.loss_guidance": loss}
