"""Everything that the miniworld profile needs, made once: data sets, labels, weights."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmseg_uda.errors import UserError
from mmseg_uda.files import write_text
from mmseg_uda.miniworld.catalogue import get_domain
from mmseg_uda.miniworld.detail_web import render_detail_web
from mmseg_uda.miniworld.formats import frame_stem
from mmseg_uda.miniworld.shipped import ship, unpack
from mmseg_uda.miniworld.stamps import fingerprint, read_stamp, write_stamp
from mmseg_uda.miniworld.unseen import WEB_DETAILS
from mmseg_uda.miniworld.web import DEFAULT_FRAMES, DOMAIN, read_web, render_web
from mmseg_uda.miniworld.world import RENDER_MODULES, WorldOptions, modules_of, render_domain
from mmseg_uda.taxonomy import LIST_FOLDER

SEGMENTATION_DOMAINS = ("gta", "synthia", "cityscapes", "acdc")
# The stand-ins of downloaded weights do not change with the world that they are used on.
WEB_SEED = 77
WEIGHT_MODULES = (*RENDER_MODULES, "web.py", "augment.py", "weights.py")
# Every fifth frame of a flat folder is for validation.
VALIDATION_STEP = 5


@dataclass(frozen=True)
class Group:
    """What some experiments need beyond the default world.

    Attributes:
        domains: Further data sets.
        weights: Further weights.
        split: Data sets of one flat folder that get lists of training and validation frames.
    """

    domains: tuple[str, ...]
    weights: tuple[str, ...]
    split: tuple[str, ...] = ()


GROUPS = {
    "generalization": Group(
        ("bdd", "mapillary"),
        ("resnet50", "resnet101", "mobilenet_v2", "shufflenet_v2_x1_0"),
        ("gta", "synthia"),
    ),
    "taxonomy": Group(("mapillary", "idd"), ("detail_clip",)),
    "transformers": Group((), ("tiny_vit",)),
}


@dataclass(frozen=True)
class WeightOptions:
    """How the miniature weights are made; None steps are the tested ones.

    Attributes:
        web_frames: Scenes of each web-like domain.
        backbone_steps: Optimizer steps of each encoder.
        clip_steps: Optimizer steps of each CLIP.
    """

    web_frames: int = DEFAULT_FRAMES
    backbone_steps: int | None = None
    clip_steps: int | None = None

    def steps(self, name: str) -> int | None:
        """Optimizer steps of some weights."""
        return self.clip_steps if name.endswith("clip") else self.backbone_steps


@dataclass(frozen=True)
class MiniworldPaths:
    """Where things are, and how long each part took.

    Attributes:
        data: domain -> root folder of the data set.
        weights: name -> file or folder; empty without weights.
        seconds: part -> seconds; parts that were there already are missing.
    """

    data: dict[str, Path]
    weights: dict[str, Path]
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
    groups: Sequence[str] = (),
    skip: Sequence[str] = (),
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
        groups: Keys of ``GROUPS``: what is made in addition.
        skip: Weights that are not made.

    Raises:
        UserError: A folder exists that the miniature world did not make.
    """
    options = options or WorldOptions()
    root = Path(root)
    seconds: dict[str, float] = {}
    chosen = [GROUPS[name] for name in groups]
    domains = list(dict.fromkeys([*domains, *(d for group in chosen for d in group.domains)]))
    for domain in domains:
        start = time.monotonic()
        if render_domain(root, domain, options, workers, convert_labels):
            seconds[domain] = time.monotonic() - start
    for domain in dict.fromkeys(d for group in chosen for d in group.split):
        if domain in domains:
            _write_lists(root / domain, domain, options.counts.get(domain, {}).get("train", 0))
    data = {d: root / d for d in domains}
    made: dict[str, Path] = {}
    if weights is not None:
        every = [*DEFAULT_WEIGHTS, *(w for group in chosen for w in group.weights)]
        names = dict.fromkeys(name for name in every if name not in skip)
        for name in names:
            made[name] = _ensure_weights(
                root, Path(weights), name, weight_options or WeightOptions(), workers, seconds
            )
        data |= {d: root / d for d in {WEIGHTS[n].domain for n in names} if (root / d).is_dir()}
    return MiniworldPaths(data, made, seconds)


def _write_lists(folder: Path, domain: str, count: int) -> None:
    """Lists of training and validation frames in the format of the published splits."""
    stems = [frame_stem(domain, "train", i) for i in range(count)]
    held = stems[VALIDATION_STEP - 1 :: VALIDATION_STEP]
    for split, names in (("train", [s for s in stems if s not in set(held)]), ("val", held)):
        path, text = folder / LIST_FOLDER / f"{split}.txt", "".join(f"{s}\n" for s in names)
        if not path.is_file() or path.read_text() != text:
            write_text(path, text)


def _ensure_weights(
    root: Path,
    folder: Path,
    name: str,
    options: WeightOptions,
    workers: int | None,
    seconds: dict[str, float],
) -> Path:
    part = WEIGHTS[name]
    target = folder / part.target
    print_ = recipe(name, options)
    made = read_stamp(folder).get("parts", {})
    if target.exists() and made.get(name) == print_:
        return target
    if target.exists() and name not in made:
        raise UserError(
            f"{target} exists and was not made by the miniature world.",
            fix="Choose another folder with --weights, or move it away.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    if not unpack(name, print_, target):
        if part.render(root, WEB_SEED, options.web_frames, workers):
            seconds[part.domain] = time.monotonic() - start
            start = time.monotonic()
        with _one_thread():
            part.make(root / part.domain, target, options.steps(name))
    write_stamp(folder, parts={**made, name: print_})
    seconds[name] = time.monotonic() - start
    return target


def recipe(name: str, options: WeightOptions | None = None) -> str:
    """Fingerprint of all that miniature weights depend on.

    Args:
        name: Key of ``WEIGHTS``.
        options: How they are trained; default: as those that come with the package.
    """
    options = options or WeightOptions()
    steps, frames = options.steps(name), options.web_frames
    parameters = {"part": name, "steps": steps, "frames": frames, "seed": WEB_SEED}
    return fingerprint(parameters, WEIGHTS[name].modules)


def ship_weights(names: Sequence[str], root: Path, workers: int | None = None) -> list[Path]:
    """Trains miniature weights and puts them into the package, in place of what is there.

    Args:
        names: Keys of ``WEIGHTS``.
        root: Folder for the web-like domains.
        workers: Number of processes; default all cores.

    Returns:
        The archives.
    """
    archives = []
    for name in names:
        part = WEIGHTS[name]
        part.render(root, WEB_SEED, DEFAULT_FRAMES, workers)
        with tempfile.TemporaryDirectory() as folder, _one_thread():
            target = Path(folder) / part.target
            part.make(root / part.domain, target, None)
            archives.append(ship(name, recipe(name), target))
    return archives


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


def _make_nano(web: Path, target: Path, steps: int | None) -> None:
    from mmseg_uda.miniworld.nano_weights import make_nano

    make_nano(web, target, steps)


def _make_vit(web: Path, target: Path, steps: int | None) -> None:
    from mmseg_uda.miniworld.vit_weights import make_vit

    make_vit(web, target, steps)


def _make_clip(web: Path, target: Path, steps: int | None) -> None:
    from mmseg_uda.miniworld.weights import CLIP_STEPS, save_clip, train_clip

    save_clip(train_clip(*read_web(web), steps=steps or CLIP_STEPS), target)


def _make_detail_clip(web: Path, target: Path, steps: int | None) -> None:
    from mmseg_uda.miniworld.detail_weights import make_detail_clip

    make_detail_clip(web, target, steps)


def _staged(arch: str) -> _Weights:
    def make(web: Path, target: Path, steps: int | None) -> None:
        from mmseg_uda.miniworld.staged_weights import make_staged

        make_staged(arch, web, target, steps)

    return _Weights(f"{arch}.pth", make, modules=(*WEIGHT_MODULES, "staged_weights.py"))


@dataclass(frozen=True)
class _Weights:
    """One file or folder of weights.

    Attributes:
        target: Its name below the weights' folder.
        make: Trains it, from the folder of a web-like domain, in so many steps.
        modules: Modules of this package that it depends on.
        domain: The web-like domain.
        render: Writes that domain.
    """

    target: str
    make: Callable[[Path, Path, int | None], None]
    modules: tuple[str, ...] = WEIGHT_MODULES
    domain: str = DOMAIN
    render: Callable[[Path, int, int, int | None], bool] = render_web


_DETAIL_MODULES = (
    *dict.fromkeys((*WEIGHT_MODULES, *modules_of(get_domain(WEB_DETAILS)))),
    "detail_web.py",
    "detail_weights.py",
)
DEFAULT_WEIGHTS = ("nano_backbone", "clip")
WEIGHTS = {
    "nano_backbone": _Weights(
        "nano_backbone.pth", _make_nano, (*WEIGHT_MODULES, "nano_weights.py")
    ),
    "tiny_vit": _Weights("tiny_vit.pth", _make_vit, (*WEIGHT_MODULES, "vit_weights.py")),
    "clip": _Weights("clip", _make_clip),
    **{arch: _staged(arch) for arch in GROUPS["generalization"].weights},
    "detail_clip": _Weights(
        "detail_clip",
        _make_detail_clip,
        (
            *WEIGHT_MODULES,
            *modules_of(get_domain(WEB_DETAILS)),
            "detail_web.py",
            "detail_weights.py",
        ),
        WEB_DETAILS,
        render_detail_web,
    ),
}
