"""Everything that the miniworld profile needs, made once: data sets, labels, weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmseg_uda.errors import UserError
from mmseg_uda.miniworld.stamps import fingerprint, read_stamp, write_stamp
from mmseg_uda.miniworld.web import DEFAULT_FRAMES, DOMAIN, read_web, render_web
from mmseg_uda.miniworld.world import RENDER_MODULES, WorldOptions, render_domain

SEGMENTATION_DOMAINS = ("gta", "synthia", "cityscapes", "acdc")
# The stand-ins of downloaded weights do not change with the world that they are used on.
WEB_SEED = 77
WEIGHT_MODULES = (*RENDER_MODULES, "web.py", "augment.py", "weights.py")


@dataclass(frozen=True)
class WeightOptions:
    """How the miniature weights are made; None steps are the tested ones.

    Attributes:
        web_frames: Scenes of the web-like domain.
        backbone_steps, clip_steps: Optimizer steps.
    """

    web_frames: int = DEFAULT_FRAMES
    backbone_steps: int | None = None
    clip_steps: int | None = None


@dataclass(frozen=True)
class MiniworldPaths:
    """Where things are, and how long each part took.

    Attributes:
        data: domain -> root folder of the data set.
        backbone: State dict of the pretrained ``NanoBackbone``; None without weights.
        clip: Folder of the miniature CLIP; None without weights.
        seconds: part -> seconds; parts that were there already are missing.
    """

    data: dict[str, Path]
    backbone: Path | None
    clip: Path | None
    seconds: dict[str, float]


def convert_labels(folder: Path) -> None:
    """Runs the project's converter of the data set in ``folder``, as for the real one."""
    from mmseg_uda.labels import convert_cityscapes, convert_gta, convert_synthia

    converter = {
        "gta": convert_gta,
        "synthia": convert_synthia,
        "cityscapes": convert_cityscapes,
    }.get(folder.name)
    if converter is not None:
        # One process: these labels are small, and starting processes takes longer.
        converter(folder, nproc=1)


def ensure_miniworld(
    root: str | Path = "data/miniworld",
    weights: str | Path | None = "pretrained/miniworld",
    options: WorldOptions | None = None,
    domains: Sequence[str] = SEGMENTATION_DOMAINS,
    weight_options: WeightOptions | None = None,
    workers: int | None = None,
) -> MiniworldPaths:
    """Makes what is missing and leaves the rest alone.

    Every part carries a stamp with the parameters and the code that made it, so that a second
    call does nothing, an interrupted one goes on where it stopped, and changed parameters redo
    exactly the parts that depend on them.

    Args:
        root: Folder of the data sets.
        weights: Folder of the miniature weights; None makes none.
        options: The world; default: the reported world.
        domains: Data sets to make.
        weight_options: How to train the weights.
        workers: Number of processes; default all cores.

    Raises:
        UserError: A folder exists that the miniature world did not make.
    """
    options = options or WorldOptions()
    root = Path(root)
    seconds: dict[str, float] = {}
    for domain in domains:
        start = time.monotonic()
        if render_domain(root, domain, options, workers, convert_labels):
            seconds[domain] = time.monotonic() - start
    data = {d: root / d for d in domains}
    if weights is None:
        return MiniworldPaths(data, None, None, seconds)
    backbone, clip = _ensure_weights(
        root, Path(weights), weight_options or WeightOptions(), workers, seconds
    )
    if (root / DOMAIN).is_dir():
        data[DOMAIN] = root / DOMAIN
    return MiniworldPaths(data, backbone, clip, seconds)


def _ensure_weights(
    root: Path,
    folder: Path,
    options: WeightOptions,
    workers: int | None,
    seconds: dict[str, float],
) -> tuple[Path, Path]:
    backbone, clip = folder / "nano_backbone.pth", folder / "clip"
    jobs: tuple[tuple[str, Path, int | None, Callable[[Path, Path, int | None], None]], ...] = (
        ("nano_backbone", backbone, options.backbone_steps, _make_backbone),
        ("clip", clip, options.clip_steps, _make_clip),
    )
    for name, target, steps, make in jobs:
        parameters = {"part": name, "steps": steps, "frames": options.web_frames, "seed": WEB_SEED}
        print_ = fingerprint(parameters, WEIGHT_MODULES)
        made = read_stamp(folder).get("parts", {})
        if target.exists() and made.get(name) == print_:
            continue
        if target.exists() and name not in made:
            raise UserError(
                f"{target} exists and was not made by the miniature world",
                "choose another folder with --weights, or move it away",
            )
        start = time.monotonic()
        if render_web(root, WEB_SEED, options.web_frames, workers):
            seconds[DOMAIN] = time.monotonic() - start
            start = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        with _one_thread():
            make(root / DOMAIN, target, steps)
        write_stamp(folder, parts={**made, name: print_})
        seconds[name] = time.monotonic() - start
    return backbone, clip


@contextmanager
def _one_thread() -> Iterator[None]:
    # Sums do not depend on the number of cores then. The networks are so small that two threads
    # gain little, and lose a lot as soon as anything else runs on the machine.
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _make_backbone(web: Path, target: Path, steps: int | None) -> None:
    import torch

    from mmseg_uda.miniworld.weights import BACKBONE_STEPS, train_backbone

    state, accuracy = train_backbone(*read_web(web), steps=steps or BACKBONE_STEPS)
    partial = target.with_name(f".{target.name}.partial")
    torch.save(state, partial)
    partial.replace(target)
    print(f"nano backbone: {100 * accuracy:.1f} % of augmented web crops right")


def _make_clip(web: Path, target: Path, steps: int | None) -> None:
    from mmseg_uda.miniworld.weights import CLIP_STEPS, save_clip, train_clip

    save_clip(train_clip(*read_web(web), steps=steps or CLIP_STEPS), target)
