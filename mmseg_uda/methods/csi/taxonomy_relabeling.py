"""CSI's component: rewrite pseudo-labels of coarse classes to the classes the source lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import CropClassifier, Detector
from mmseg_uda.foundation.lazy import full_precision
from mmseg_uda.methods.csi.boxes import NMS_MODES, count_pixels, select_boxes
from mmseg_uda.methods.csi.mapping import OFF, Entry, read_mapping, read_phases
from mmseg_uda.methods.csi.panels import bank_panels, relabel_panels
from mmseg_uda.methods.csi.patch_bank import PatchBank
from mmseg_uda.methods.csi.relabel import (
    NEVER,
    PASTE_MODES,
    Region,
    count_majorities,
    paste,
    resolve_source,
)
from mmseg_uda.methods.csi.scoring import CLIP_SCORES, accept_crops
from mmseg_uda.methods.csi.vlm import (
    CropCheck,
    build_classifier,
    build_detector,
    find_boxes,
    send,
)
from mmseg_uda.self_training.component import Component, StepContext
from mmseg_uda.self_training.records import PseudoLabels, TargetBatch
from mmseg_uda.self_training.registry import COMPONENTS
from mmseg_uda.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    from mmseg_uda.self_training.self_training import SelfTraining

UNKNOWN, DROPPED = -1, -2


@COMPONENTS.register_module()
class TaxonomyRelabeling(Component):
    """Relabelling with vision-language models (CSI: Lim & Kim, ECCV 2024).

    A detector names boxes of the new classes, a crop classifier checks them, and inside the boxes
    that remain the pixels of the new class's source class become the new class. Weights are
    untouched. Waits for the device once per batch, for the boxes.

    Args:
        mapping: New classes in prompt order; see
            :func:`mmseg_uda.methods.csi.mapping.read_mapping`.
        collect: [start, end) in steps: count what verified boxes of entries without a source are
            covered with. At ``end`` the most frequent class of the super-category becomes the
            source, or the entry is dropped.
        relabel: [start, end) in steps: edit labels. (-1, -1) switches the method off; no model is
            built then.
        taxonomy: Name or file of the label space; None takes the host's.
        detector: Config of a detector, OWL-ViT if absent.
        classifier: Config of a crop classifier, CLIP ViT-B/32 if absent.
        nms: ``agnostic`` (published) or ``class``: whether boxes of different new classes compete.
        nms_iou: IoU above which the weaker box is dropped.
        paste: ``rect`` (published) or ``masked``. Masked is recommended: with rect, overlapping
            boxes undo each other's edits.
        clip_score: ``max_prompt`` (published) or ``sum_class``, which does not punish classes with
            many phrases.
        min_box: Shortest side of a box in pixels.
        candidate_ratio: Share of a box that a class must exceed to be counted while collecting.
        fallback_runner_up: When the most frequent class is the new class itself, take the next
            one instead of dropping the entry.
        crop_mode: ``center``, ``square_pad`` or ``stretch``; None takes the classifier's own,
            ``center`` for CLIP (published: long boxes lose their ends).
        preprocess: ``pil8`` (published) or ``tensor`` (on the device, without a further wait).
        vlm_dtype: ``fp32`` (published), ``bf16`` or ``fp16`` for the towers of both models.
        clip_chunk: Crops per forward pass of the classifier.
        every_n: Work only in every n-th step; labels stay as they are in the others.
        bank_capacity: Relabelled patches of each new class to keep for debug pictures.

    Raises:
        UserError: For a configuration that cannot work, when the trainer is built.
    """

    order = 10
    summed = ("counts", "relabelled")
    smallest = ("first_seen",)

    def __init__(
        self,
        mapping: Sequence[Mapping[str, Any]],
        collect: Sequence[int] = OFF,
        relabel: Sequence[int] = OFF,
        taxonomy: str | Taxonomy | None = None,
        detector: Mapping[str, Any] | None = None,
        classifier: Mapping[str, Any] | None = None,
        nms: str = "agnostic",
        nms_iou: float = 0.3,
        paste: str = "rect",
        clip_score: str = "max_prompt",
        min_box: int = 10,
        candidate_ratio: float = 0.5,
        fallback_runner_up: bool = False,
        crop_mode: str | None = None,
        preprocess: str = "pil8",
        vlm_dtype: str = "fp32",
        clip_chunk: int = 128,
        every_n: int = 1,
        bank_capacity: int = 0,
    ) -> None:
        super().__init__()
        self.phases = read_phases(collect, relabel)
        _check("nms", nms, nms in NMS_MODES, f"one of {NMS_MODES}")
        _check("nms_iou", nms_iou, 0 <= nms_iou <= 1, "a number in [0, 1]")
        _check("paste", paste, paste in PASTE_MODES, f"one of {PASTE_MODES}")
        _check("clip_score", clip_score, clip_score in CLIP_SCORES, f"one of {CLIP_SCORES}")
        _check("min_box", min_box, min_box >= 1, "at least 1 pixel")
        _check("candidate_ratio", candidate_ratio, 0.5 <= candidate_ratio < 1, "0.5 or more")
        _check("every_n", every_n, every_n >= 1, "at least 1")
        _check("bank_capacity", bank_capacity, bank_capacity >= 0, "0 (off) or more")
        self.config = list(mapping)
        self.bank = PatchBank(len(self.config), bank_capacity) if bank_capacity else None
        self.taxonomy_name = taxonomy
        self.nms, self.nms_iou, self.paste = nms, nms_iou, paste
        self.clip_score = clip_score
        self.min_box = min_box
        self.candidate_ratio = candidate_ratio
        self.fallback_runner_up = fallback_runner_up
        self.every_n = every_n
        self.entries: tuple[Entry, ...] = ()
        self.detector: Detector | None = None
        self.check: CropCheck | None = None
        if not self.phases.off:
            shared = {"preprocess": preprocess, "dtype": vlm_dtype}
            crops: CropClassifier = build_classifier(
                classifier or {"type": "TransformersClip"},
                crop_mode=crop_mode,
                chunk=clip_chunk,
                **shared,
            )
            self.detector = build_detector(detector or {"type": "OwlDetector"}, crops, **shared)
            self._crops = crops
        self._boxes: tuple[TargetBatch, Tensor, Tensor] | None = None

    def bind(self, host: SelfTraining) -> None:
        """Check the map against the label space and allocate what a checkpoint keeps."""
        taxonomy = self.taxonomy_name or host.taxonomy
        if taxonomy is None:
            raise UserError(
                "uda.relabel needs class names, groups and prompts",
                fix="set uda.taxonomy, for example 'cityscapes19'",
            )
        self.taxonomy = load_taxonomy(taxonomy)
        if len(self.taxonomy) != host.num_classes:
            raise UserError(
                f"uda.relabel: taxonomy {self.taxonomy.name!r} has {len(self.taxonomy)} classes, "
                f"the segmentor predicts {host.num_classes}",
                fix="use one taxonomy for the data sets, the segmentor and uda.taxonomy",
            )
        self.entries = read_mapping(self.config, self.taxonomy, self.phases)
        if not self.phases.off:
            self.check = CropCheck(self._crops, self.taxonomy, self.entries, self.clip_score)
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
        """Close the collection once it is over."""
        self._boxes = None
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
        if not (relabelling or collecting) or not active or ctx.step % self.every_n:
            return pseudo
        label = pseudo.label
        with torch.no_grad(), full_precision(label.device):
            images, boxes = self._find(target, active)
            regions, stats = self._regions(label, boxes, relabelling)
            accepted = self._verify(images, regions, collecting)
            edited = label
            targets = [entry.target for entry in self.entries]
            if relabelling:
                edited = paste(label, regions, accepted, self.sources, targets, self.paste)
            if pseudo.primary:
                if relabelling and self.bank is not None:
                    self.bank.add(images, regions, accepted)
                if collecting:
                    self._count(ctx.step, label, regions, accepted)
                self._log(ctx, stats, regions, accepted, label, edited, relabelling)
                if ctx.draws:
                    self.show(*relabel_panels(images, regions, accepted, targets, label, edited))
                    self.show(*bank_panels(self.bank, [self.taxonomy.classes[t] for t in targets]))
        return pseudo if edited is label else replace(pseudo, label=edited)

    def _find(self, target: TargetBatch, active: Sequence[int]) -> tuple[Tensor, Tensor]:
        # A second teacher's labels of the same images are edited with the same boxes.
        if self._boxes is None or self._boxes[0] is not target:
            assert self.detector is not None
            images = target.rgb().float().clamp(0, 1)
            found = find_boxes(self.detector, images, self.taxonomy, self.entries, active)
            self._boxes = (target, images, found)
        return self._boxes[1:]

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
                rows[:, 0], rows[:, 2:6], entry, thresholds, self.nms, self.nms_iou
            )
            stats["boxes"] += len(chosen)
            chosen = chosen[rows[chosen, 10] > 0]
            stats["boxes_source"] += len(chosen)
            corners = rows[:, 6:10].astype(np.int64)
            sides = corners[:, 2:] - corners[:, :2]
            chosen = chosen[(sides[chosen] >= self.min_box).all(axis=1)]
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
            self.candidate_ratio,
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
                counts[i], first_seen[i], allowed, entry.target, self.fallback_runner_up
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


def _check(key: str, value: Any, right: bool, expected: str) -> None:
    if not right:
        raise UserError(f"uda.relabel.{key}={value!r} is not possible", fix=expected)
