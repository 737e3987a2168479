"""Are the numbers of a config such as their readers can use?

Whoever reads them would end in a traceback, train nothing without a word, or count on for hours.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ANY = "*"
LARGEST = 10**9  # steps, seconds, pixels: beyond it somebody has mistyped a number
LARGEST_SEED = 2**32 - 1  # numpy's


@dataclass(frozen=True)
class Numbers:
    """Which numbers a key may have.

    Attributes:
        least: The smallest.
        most: The largest.
        whole: Whether it has to be a whole number.
        exact: Whether its reader does not take 2e4 for 20000.
        never: Whether -1 is one, too, and stands for never, or for all.
    """

    least: float = 0
    most: float = LARGEST
    whole: bool = True
    exact: bool = False
    never: bool = False

    def takes(self, value: Any) -> bool:
        """Whether a value is one of them; True is none."""
        kinds = (int,) if self.exact else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        if self.never and value == -1:
            return True
        right = self.least <= value <= self.most  # NaN is not
        return right and (not self.whole or value == int(value))

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.least} to {self.most}{', or -1' if self.never else ''}"


COUNT, SIZE, RATE = Numbers(), Numbers(least=1), Numbers(most=1_000_000, whole=False)
SECONDS = Numbers(least=0.001, whole=False)
FACTOR = Numbers(least=-1_000_000, most=1_000_000, whole=False)
# Of a place in a config, ANY standing for every key or entry. What is None is not set.
RULES: tuple[tuple[tuple[str, ...], Numbers], ...] = (
    *(
        ((f"{stage}_dataloader", key), Numbers(least, most, exact=True))
        for stage in ("train", "val", "test")
        for key, least, most in (
            ("batch_size", 1, 100_000),
            ("num_workers", 0, 1000),
            ("prefetch_factor", 1, 1000),
        )
    ),
    (("train_cfg", "max_iters"), SIZE),
    (("train_cfg", "val_interval"), SIZE),
    (("train_cfg", "val_begin"), COUNT),
    (("default_hooks", "checkpoint", "interval"), Numbers(least=1, never=True)),
    (("default_hooks", "checkpoint", "max_keep_ckpts"), Numbers(least=1, never=True)),
    (("default_hooks", "logger", "interval"), SIZE),
    (("default_hooks", "job_files", "interval"), SIZE),
    (("optim_wrapper", "accumulative_counts"), SIZE),
    (("optim_wrapper", "clip_grad", "max_norm"), Numbers(least=1e-9, whole=False)),
    (("optim_wrapper", "optimizer", "lr"), RATE),
    (("optim_wrapper", "optimizer", "weight_decay"), RATE),
    (("optim_wrapper", "optimizer", "momentum"), RATE),
    (("optim_wrapper", "paramwise_cfg", "custom_keys", ANY, "lr_mult"), RATE),
    (("optim_wrapper", "paramwise_cfg", "custom_keys", ANY, "decay_mult"), RATE),
    (("optim_wrapper", "paramwise_cfg", "norm_decay_mult"), RATE),
    *(
        (("param_scheduler", *entry, key), numbers)
        for entry in ((), (ANY,))  # a single one may stand alone
        for numbers, keys in (
            (COUNT, ("begin", "end")),
            (FACTOR, ("power", "eta_min", "gamma", "factor", "start_factor", "end_factor")),
        )
        for key in keys
    ),
    (("randomness", "seed"), Numbers(most=LARGEST_SEED, exact=True)),
    (("env_cfg", "dist_cfg", "timeout"), SECONDS),
    (("env_cfg", "dist_cfg", "step_timeout"), SECONDS),
    *((("model", "test_cfg", key, ANY), SIZE) for key in ("crop_size", "stride")),
)


def wrong_numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, str]]:
    """Yields key, value, what it is not, and what to do, of each number that nobody can use."""
    for (first, *below), numbers in RULES:
        for key, value in _values(config.get(first), below, first):
            if not numbers.takes(value):
                yield key, value, "number that can be used", f"Give {numbers}."
    level = config.get("log_level")
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        yield "log_level", level, "level of a log", "Give INFO, WARNING, ERROR or DEBUG."


def _values(node: Any, place: Sequence[str], key: str) -> Iterator[tuple[str, Any]]:
    """Keys and values at a place below ``key``."""
    if not place:
        if node is not None:
            yield key, node
        return
    name, *below = place
    if isinstance(node, Mapping):
        for entry in node if name == ANY else [name]:
            if entry in node:
                yield from _values(node[entry], below, f"{key}.{entry}")
    elif name == ANY and isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from _values(item, below, f"{key}[{number}]")
