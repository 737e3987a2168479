"""CSI's component: rewrite pseudo-labels of coarse classes to the classes the source lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmseg_uda.engine.records import TargetBatch
from mmseg_uda.errors import UserError
from mmseg_uda.foundation import CropClassifier, Detector
from mmseg_uda.foundation.lazy import full_precision
from mmseg_uda.methods.csi.boxes import count_pixels, select_boxes
from mmseg_uda.methods.csi.mapping import Entry, read_mapping
from mmseg_uda.methods.csi.options import RelabelOptions
from mmseg_uda.methods.csi.panels import bank_panels, relabel_panels
from mmseg_uda.methods.csi.patch_bank import PatchBank
from mmseg_uda.methods.csi.relabel import (
    NEVER,
    Region,
    count_majorities,
    paste,
    resolve_source,
)
from mmseg_uda.methods.csi.scoring import accept_crops
from mmseg_uda.methods.csi.vlm import (
    CropCheck,
    build_classifier,
    build_detector,
    find_boxes,
    send,
)
from mmseg_uda.self_training.component import Component, Host, StepContext
from mmseg_uda.self_training.records import PseudoLabels
from mmseg_uda.self_training.registry import COMPONENTS
from mmseg_uda.taxonomy import load_taxonomy

UNKNOWN, DROPPED = -1, -2


@COMPONENTS.register_module()
class TaxonomyRelabeling(Component):
    """Relabelling with vision-language models (CSI: Lim & Kim, ECCV 2024).

    A detector names boxes of the new classes, a crop classifier checks them, and inside the boxes
    that remain the pixels of the new class's source class become the new class. Weights are
    untouched. Waits for the device once per batch, for the boxes.
    """

    Options = RelabelOptions
    order = 10
    host_waits = 1
    summed = ("counts", "relabelled")
    smallest = ("first_seen",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        chosen = self.options
        self.phases = chosen.phases
        capacity = chosen.bank_capacity
        self.bank = PatchBank(len(chosen.mapping), capacity) if capacity else None
        self.entries: tuple[Entry, ...] = ()
        self.detector: Detector | None = None
        self.check: CropCheck | None = None
        if not self.phases.off:
            shared = {"preprocess": chosen.preprocess, "dtype": chosen.vlm_dtype}
            self._crops: CropClassifier = build_classifier(
                chosen.classifier or {"type": "TransformersClip"},
                crop_mode=chosen.crop_mode,
                chunk=chosen.clip_chunk,
                **shared,
            )
            detector = chosen.detector or {"type": "OwlDetector"}
            self.detector = build_detector(detector, self._crops, **shared)

    def bind(self, host: Host) -> None:
        """Checks the map against the label space and allocates what a checkpoint keeps."""
        taxonomy = self.options.taxonomy or host.taxonomy
        if taxonomy is None:
            raise UserError(
                "uda.relabel needs class names, groups and prompts.",
                fix="Set uda.taxonomy, for example 'cityscapes19'.",
            )
        self.taxonomy = load_taxonomy(taxonomy)
        if len(self.taxonomy) != host.num_classes:
            raise UserError(
                f"uda.relabel: taxonomy {self.taxonomy.name!r} has {len(self.taxonomy)} classes, "
                f"the segmentor predicts {host.num_classes}.",
                fix="Use one taxonomy for the data sets, the segmentor and uda.taxonomy.",
            )
        self.entries = read_mapping(self.options.mapping, self.taxonomy, self.phases)
        if not self.phases.off:
            self.check = CropCheck(
                self._crops, self.taxonomy, self.entries, self.options.clip_score
            )
        n, classes = len(self.entries), len(self.taxonomy)
        given = [UNKNOWN if e.source is None else e.source for e in self.entries]
        #: Source class per entry; UNKNOWN until the collection is over, DROPPED if it found none.
        self.register_buffer("source", torch.tensor(given))
        #: Boxes per entry and majority class, and when each pair was seen first.
        self.register_buffer("counts", torch.zeros(n, classes, dtype=torch.int64))
        self.register_buffer("first_seen", torch.full((n, classes), NEVER))
        #: Boxes relabelled so far per entry.
        self.register_buffer("relabelled", torch.zeros(n, dtype=torch.int64))
        # The host's copy of ``source``, because the step branches on it.
        self.sources = given
        self.register_load_state_dict_post_hook(self._read_sources)

    @staticmethod
    def _read_sources(module: TaxonomyRelabeling, incompatible_keys: Any) -> None:
        stored = module.source.tolist()
        pairs = zip(module.entries, stored, strict=True)
        # What the config gives stays: only a discovered source comes from the checkpoint.
        module.sources = [s if e.source is None else e.source for e, s in pairs]

    def begin_step(self, ctx: StepContext) -> None:
        """Closes the collection once it is over."""
        if not self.phases.off and UNKNOWN in self.sources and self.phases.collected(ctx.step):
            self.reduce()
            self._resolve_sources()

    def refine_labels(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """Edited labels while relabelling; while collecting, counts and unchanged labels."""
        relabelling = self.phases.relabelling(ctx.step)
        collecting = self.phases.collecting(ctx.step) and pseudo.primary
        active = [i for i, source in enumerate(self.sources) if source != DROPPED]
        if not (relabelling or collecting) or not active or ctx.step % self.options.every_n:
            return pseudo
        label = pseudo.label
        with torch.no_grad(), full_precision(label.device):
            images, boxes = self._find(ctx, target, active)
            regions, stats = self._regions(label, boxes, relabelling)
            accepted = self._verify(images, regions, collecting)
            edited = label
            targets = [entry.target for entry in self.entries]
            if relabelling:
                edited = paste(label, regions, accepted, self.sources, targets, self.options.paste)
            if pseudo.primary:
                if relabelling and self.bank is not None:
                    self.bank.add(images, regions, accepted)
                if collecting:
                    self._count(ctx.step, label, regions, accepted)
                self._log(ctx, stats, regions, accepted, label, edited, relabelling)
                if ctx.draws:
                    ctx.show(*relabel_panels(images, regions, accepted, targets, label, edited))
                    ctx.show(*bank_panels(self.bank, [self.taxonomy.classes[t] for t in targets]))
        return pseudo if edited is label else replace(pseudo, label=edited)

    def _find(
        self, ctx: StepContext, target: TargetBatch, active: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        # A second teacher's labels of the same images are edited with the same boxes.
        if self not in ctx.notes:
            assert self.detector is not None
            images = target.rgb().float().clamp(0, 1)
            found = find_boxes(self.detector, images, self.taxonomy, self.entries, active)
            ctx.notes[self] = (images, found)
        return ctx.notes[self]

    def _regions(
        self, label: Tensor, boxes: Tensor, relabelling: bool
    ) -> tuple[list[Region], dict[str, int]]:
        """Boxes that pass the thresholds, suppression and filters, in writing order per image."""
        present = torch.ones_like(boxes[..., 0])
        if relabelling:
            classes = [max(source, 0) for source in self.sources]
            present = count_pixels(label, boxes[..., 6:].long(), boxes[..., 1].long(), classes)
        # The one wait for the device: everything about the boxes in one copy.
        found = torch.cat([boxes, present[..., None].float()], dim=-1).cpu().numpy()
        thresholds = [entry.box_score for entry in self.entries]
        regions: list[Region] = []
        stats = {"boxes": 0, "boxes_source": 0, "boxes_size": 0}
        for image, rows in enumerate(found):
            entry = rows[:, 1].astype(np.int64)
            chosen = select_boxes(
                rows[:, 0], rows[:, 2:6], entry, thresholds, self.options.nms, self.options.nms_iou
            )
            stats["boxes"] += len(chosen)
            chosen = chosen[rows[chosen, 10] > 0]
            stats["boxes_source"] += len(chosen)
            corners = rows[:, 6:10].astype(np.int64)
            sides = corners[:, 2:] - corners[:, :2]
            chosen = chosen[(sides[chosen] >= self.options.min_box).all(axis=1)]
            stats["boxes_size"] += len(chosen)
            for i in chosen:
                x0, y0, x1, y1 = corners[i].tolist()
                regions.append(Region(image, x0, y0, x1, y1, int(entry[i]), float(rows[i, 0])))
        return regions, stats

    def _verify(self, images: Tensor, regions: Sequence[Region], collecting: bool) -> Tensor:
        """(n,) bool on the device: which regions the crop classifier confirms."""
        accepted = torch.ones(len(regions), dtype=torch.bool, device=images.device)
        # While collecting, only boxes of entries without a source can have an effect.
        doubtful = [
            (i, region, score)
            for i, region in enumerate(regions)
            if (score := self.entries[region.entry].crop_score) is not None
            and not (collecting and self.sources[region.entry] != UNKNOWN)
        ]
        if not doubtful:
            return accepted
        assert self.check is not None
        numbers = [(i, r.image, r.entry, r.x0, r.y0, r.x1, r.y1) for i, r, _ in doubtful]
        table = send(numbers, torch.int64, images.device)
        threshold = send([score for *_, score in doubtful], torch.float32, images.device)
        predicted, confidence = self.check(images, table[:, 3:], table[:, 1], table[:, 2])
        targets = [self.entries[r.entry].target for _, r, _ in doubtful]
        target = send(targets, torch.int64, images.device)
        accepted[table[:, 0]] = accept_crops(predicted, confidence, target, threshold)
        return accepted

    def _count(self, step: int, label: Tensor, regions: Sequence[Region], accepted: Tensor) -> None:
        """Adds the majority classes of verified boxes of entries without a source."""
        open_ = [i for i, r in enumerate(regions) if self.sources[r.entry] == UNKNOWN]
        found, first = count_majorities(
            label,
            [regions[i] for i in open_],
            accepted[send(open_, torch.int64, label.device)],
            len(self.entries),
            len(self.taxonomy),
            step,
            self.options.candidate_ratio,
        )
        self.counts += found
        torch.minimum(self.first_seen, first, out=self.first_seen)

    def _resolve_sources(self) -> None:
        counts, first_seen = self.counts.tolist(), self.first_seen.tolist()
        groups, names = self.taxonomy.groups, self.taxonomy.classes
        for i, entry in enumerate(self.entries):
            if self.sources[i] != UNKNOWN:
                continue
            allowed = [c for c in range(len(groups)) if groups[c] == groups[entry.target]]
            source = resolve_source(
                counts[i], first_seen[i], allowed, entry.target, self.options.fallback_runner_up
            )
            self.sources[i] = DROPPED if source is None else source
            self.source[i] = self.sources[i]
            counted = {names[c]: k for c, k in enumerate(counts[i]) if k}
            verdict = "is dropped" if source is None else f"is taken from {names[source]}"
            print_log(f"CSI: {names[entry.target]} {verdict}; boxes counted: {counted}", "current")

    def _log(
        self,
        ctx: StepContext,
        stats: Mapping[str, int],
        regions: Sequence[Region],
        accepted: Tensor,
        label: Tensor,
        edited: Tensor,
        relabelling: bool,
    ) -> None:
        for name, value in stats.items():
            ctx.log(f"csi.{name}", float(value))
        ctx.log("csi.boxes_verified", accepted.sum().float())
        if not relabelling:
            return
        entry = send([r.entry for r in regions], torch.int64, accepted.device)
        self.relabelled.scatter_add_(0, entry, accepted.long())
        changed = edited != label
        for i, item in enumerate(self.entries):
            name = self.taxonomy.classes[item.target]
            ctx.log(f"csi.pixels.{name}", (changed & (edited == item.target)).sum().float())
            ctx.log(f"csi.relabelled.{name}", self.relabelled[i].float())
            ctx.log(f"csi.source.{name}", float(self.sources[i]))

    def describe(self) -> dict[str, Any]:
        """The relabelling map: new class to source class, by name."""
        special = {UNKNOWN: "not known yet", DROPPED: "none found"}
        names = self.taxonomy.classes
        pairs = zip(self.entries, self.sources, strict=True)
        return {names[e.target]: special.get(s) or names[s] for e, s in pairs}
