"""The relabelling map and its phases, read from the config and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import Taxonomy

OFF = (-1, -1)
_KEYS = {"target", "source", "box_score", "crop_score"}


@dataclass(frozen=True)
class Entry:
    """One new class.

    Attributes:
        target: Class that the source data lacks.
        source: Class whose pixels become the target; None to find it out while collecting.
        box_score: Detector score that a box must exceed.
        crop_score: Crop classifier's confidence that must be exceeded; None skips the check.
    """

    target: int
    source: int | None
    box_score: float
    crop_score: float | None


@dataclass(frozen=True)
class Phases:
    """When boxes are collected and when labels are edited, in completed optimizer steps.

    Attributes:
        collect: [start, end) of the collection, ``(-1, -1)`` for none.
        relabel: [start, end) of the relabelling, ``(-1, -1)`` switches the method off.
    """

    collect: tuple[int, int] = OFF
    relabel: tuple[int, int] = OFF

    @property
    def off(self) -> bool:
        """Whether the method does nothing at all."""
        return self.relabel[0] < 0

    def collecting(self, step: int) -> bool:
        """Whether majority classes are counted in this step."""
        return not self.off and self.collect[0] <= step < self.collect[1]

    def collected(self, step: int) -> bool:
        """Whether the collection is over at the start of this step."""
        return step >= self.collect[1]

    def relabelling(self, step: int) -> bool:
        """Whether labels are edited in this step."""
        return not self.off and self.relabel[0] <= step < self.relabel[1]


def read_phases(collect: Sequence[int], relabel: Sequence[int]) -> Phases:
    """Checks the two ranges.

    Raises:
        UserError: For a range that is no pair of whole numbers, is empty, or for a collection
            that lasts into the relabelling.
    """
    for name, bounds in (("collect", collect), ("relabel", relabel)):
        whole = [isinstance(b, int) and not isinstance(b, bool) for b in bounds]
        if len(bounds) != 2 or not all(whole):
            raise UserError(
                f"uda.relabel.{name}={bounds!r} is not a range of steps.",
                fix="Give (start, end), or (-1, -1) for off.",
            )
        if bounds[0] >= bounds[1] and tuple(bounds) != OFF:
            raise UserError(
                f"uda.relabel.{name}={tuple(bounds)} is empty.",
                fix="Start must come before end; (-1, -1) means off.",
            )
    phases = Phases((collect[0], collect[1]), (relabel[0], relabel[1]))
    if not phases.off and phases.collect[1] > phases.relabel[0]:
        raise UserError(
            f"uda.relabel.collect ends at {collect[1]}, after uda.relabel.relabel starts at "
            f"{relabel[0]}.",
            fix="Let the collection end at or before the start of the relabelling.",
        )
    return phases


def read_mapping(
    mapping: Sequence[Mapping[str, Any]], taxonomy: Taxonomy, phases: Phases
) -> tuple[Entry, ...]:
    """Checks the relabelling map against the taxonomy.

    Args:
        mapping: Dicts with ``target``, ``source`` (class names or ids; source None or absent for
            a class that is to be found), ``box_score`` and ``crop_score``, in prompt order.
        taxonomy: The target label space.
        phases: When things happen.

    Raises:
        UserError: For an unknown key or class, a repeated target, a source that is the target, a
            threshold outside [0, 1), a class without prompts, or a source that is to be found
            without a collection phase.
    """
    if not mapping:
        raise UserError(
            "uda.relabel.mapping is empty.",
            fix="List the new classes, for example [dict(target='truck', source='car')].",
        )
    for name, prompts in zip(taxonomy.classes, taxonomy.prompts, strict=True):
        if not prompts:
            raise UserError(
                f"class {name!r} of taxonomy {taxonomy.name!r} has no prompts.",
                fix="Add at least one text per class to the taxonomy file.",
            )
    entries = tuple(_read_entry(item, taxonomy) for item in mapping)
    targets = [entry.target for entry in entries]
    for entry in entries:
        name = taxonomy.classes[entry.target]
        if targets.count(entry.target) > 1:
            raise UserError(
                f"uda.relabel.mapping lists the target {name!r} twice.",
                fix="Keep one entry per new class.",
            )
        if entry.source is None and phases.collect == OFF and not phases.off:
            raise UserError(
                f"uda.relabel.mapping gives no source for {name!r}, and there is no collection "
                "phase to find it.",
                fix="Set uda.relabel.collect=(7999, 11999), or name the source class.",
            )
    return entries


def _read_entry(item: Mapping[str, Any], taxonomy: Taxonomy) -> Entry:
    unknown = sorted(set(item) - _KEYS)
    if unknown or "target" not in item:
        raise UserError(
            f"uda.relabel.mapping: {dict(item)!r} "
            + (f"has the unknown key {unknown[0]!r}" if unknown else "has no target"),
            fix=f"Use {', '.join(sorted(_KEYS))}.",
        )
    target = taxonomy.class_id(item["target"])
    source = item.get("source")
    source = None if source is None else taxonomy.class_id(source)
    if source == target:
        raise UserError(
            f"uda.relabel.mapping: source and target are both {taxonomy.classes[target]!r}.",
            fix="Name the class that hides the target in the source data, or leave source out.",
        )
    # Published thresholds of truck and train; terrain uses 0.01 and 0.1.
    box_score, crop_score = item.get("box_score", 0.1), item.get("crop_score", 0.5)
    for key, value in (("box_score", box_score), ("crop_score", crop_score)):
        missing = key == "crop_score" and value is None
        if not missing and not (isinstance(value, int | float) and 0 <= value < 1):
            raise UserError(
                f"uda.relabel.mapping: {key}={value!r} of {taxonomy.classes[target]!r}.",
                fix="Give a number in [0, 1)" + (", or None" if key == "crop_score" else ""),
            )
    return Entry(target, source, box_score, crop_score)
