"""Several evaluation sets in one loader, one after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg.registry import DATASETS
from torch.utils.data import ConcatDataset, Dataset

from mmseg_uda.errors import UserError


@DATASETS.register_module()
class MultiTargetDataset(ConcatDataset):
    """Targets of one label space, evaluated in one run (SRHA).

    Images come target by target, each with the pipeline of its own target. Every sample's meta
    information names its ``target``, by which ``MultiTargetIoU`` keeps scores apart. One loader
    serves all targets, so that a target with few images leaves no worker and no process idle.

    Args:
        targets: Name -> config of a data set, in the order of tables.

    Raises:
        UserError: There is no target, or their classes differ.
    """

    def __init__(self, targets: Mapping[str, Mapping[str, Any] | Dataset]) -> None:
        if not targets:
            raise UserError(
                "MultiTargetDataset has no targets.", fix="targets=dict(cityscapes=dict(...), ...)."
            )
        built: dict[str, Any] = {
            name: DATASETS.build(dict(one)) if isinstance(one, Mapping) else one
            for name, one in targets.items()
        }
        first, *others = built
        for name in others:
            if list(built[name].metainfo["classes"]) != list(built[first].metainfo["classes"]):
                raise UserError(
                    f"The targets '{first}' and '{name}' differ in their classes.",
                    fix="Give all targets the same taxonomy; a label_map translates labels.",
                )
        super().__init__(built.values())
        self.names = tuple(built)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes and palette of all, and ``targets``: number of images by name."""
        sizes = {name: len(one) for name, one in zip(self.names, self.datasets, strict=True)}
        return {**self.datasets[0].metainfo, "targets": sizes}

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Returns the paths of a sample, unloaded, and its ``target``."""
        target, index = self._locate(idx)
        return {**self.datasets[target].get_data_info(index), "target": self.names[target]}

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """Returns the packed sample; views of test-time augmentation are all marked."""
        target, index = self._locate(idx)
        sample = self.datasets[target][index]
        views = sample["data_samples"]
        for view in views if isinstance(views, list) else [views]:
            view.set_metainfo({"target": self.names[target]})
        return sample

    def _locate(self, idx: int) -> tuple[int, int]:
        if not 0 <= idx < len(self):
            raise IndexError(f"sample {idx} of {len(self)}")
        target = next(i for i, end in enumerate(self.cumulative_sizes) if idx < end)
        return target, idx - (self.cumulative_sizes[target - 1] if target else 0)
