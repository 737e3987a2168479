"""The web-like domain: captioned crops of every class, from scenes of all kinds of looks.

It plays the part of ImageNet and of a web crawl: the miniature backbone and CLIP are trained on
it. Its scenes have their own layouts and random styles; none belongs to a target domain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmseg_uda.miniworld.canvas import Ids
from mmseg_uda.miniworld.catalogue import get_domain
from mmseg_uda.miniworld.domains import Frame, render, stream
from mmseg_uda.miniworld.formats import TAXONOMY, write_atomically, write_rgb
from mmseg_uda.miniworld.stamps import close_folder, fingerprint, is_complete, open_folder
from mmseg_uda.miniworld.world import RENDER_MODULES, parallel
from mmseg_uda.progress import track
from mmseg_uda.taxonomy import load_taxonomy

DOMAIN = "web"
CROP_SIZE = 64
DEFAULT_FRAMES = 600
CAPTIONS = "captions.json"
TEMPLATES = (
    "{}",
    "a photo of a {}",
    "a picture of the {}",
    "a street with a {}",
    "one {}",
    "{} on a street",
)
# How often a caption uses the class's first prompt; the web, too, says "truck" more often than
# "pickup truck".
FIRST_PROMPT_SHARE = 0.88
_PER_FRAME = 3
_MIN_SIDE, _MIN_PIXELS = 10, 90
_OBJECTS = tuple(c for c in Ids if c in (Ids.LIGHT, Ids.SIGN) or c >= Ids.PERSON)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Caption:
    """One captioned crop.

    Attributes:
        file: Path below the domain's folder.
        name: Class name.
        prompt: The taxonomy's prompt that the caption contains.
        text: The caption.
    """

    file: str
    name: str
    prompt: str
    text: str


def object_boxes(frame: Frame) -> list[tuple[int, Box]]:
    """(class, (x0, y0, x1, y1)) of every sufficiently visible object of a frame.

    A rider and the two-wheeler below are one instance with two classes, hence two boxes.
    """
    found = []
    keys = frame.instance.astype(np.int64) * 256 + frame.label
    for key in np.unique(keys[frame.instance > 0]):
        class_id = int(key % 256)
        if class_id not in _OBJECTS:
            continue
        rows, columns = np.nonzero(keys == key)
        box = (
            int(columns.min()),
            int(rows.min()),
            int(columns.max()) + 1,
            int(rows.max()) + 1,
        )
        side = min(box[2] - box[0], box[3] - box[1])
        if side >= _MIN_SIDE and len(rows) >= _MIN_PIXELS:
            found.append((class_id, box))
    return found


def window_boxes(frame: Frame, rng: np.random.Generator, tries: int = 4) -> list[tuple[int, Box]]:
    """Windows that cut through the scene, one class without a shape in the majority.

    Args:
        frame: A rendered frame.
        rng: Draws a pixel of the class and a window around it.
        tries: Draws per class of the frame.
    """
    height, width = frame.label.shape
    found = []
    for class_id in np.unique(frame.label):
        if class_id in _OBJECTS or class_id >= len(Ids):
            continue
        rows, columns = np.nonzero(frame.label == class_id)
        narrow = class_id == Ids.POLE
        for _ in range(tries):
            k = rng.integers(len(rows))
            w = int(rng.integers(10, 18) if narrow else np.exp(rng.uniform(3.2, 4.8)))
            h = int(rng.integers(26, 60) if narrow else w * rng.uniform(0.4, 1.3))
            w, h = min(w, width), int(np.clip(h, 16, height))
            x = int(np.clip(columns[k] - rng.integers(w), 0, width - w))
            y = int(np.clip(rows[k] - rng.integers(h), 0, height - h))
            share = np.mean(frame.label[y : y + h, x : x + w] == class_id)
            if share > (0.3 if narrow else 0.5):
                found.append((int(class_id), (x, y, x + w, y + h)))
    return found


def vary_box(box: Box, rng: np.random.Generator, width: int, height: int) -> Box:
    """The box with some context, or cut somewhat, as found on the web and by proposals."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    low, high = ((-0.25, 0.1), (0.0, 0.2), (0.0, 0.2), (0.0, 0.5))[rng.integers(4)]
    left, top, right, bottom = rng.uniform(low, high, 4)
    varied = (
        max(int(x0 - left * w), 0),
        max(int(y0 - top * h), 0),
        min(int(np.ceil(x1 + right * w)), width),
        min(int(np.ceil(y1 + bottom * h)), height),
    )
    return varied if varied[2] - varied[0] >= 6 and varied[3] - varied[1] >= 6 else box


def frame_crops(frame: Frame, rng: np.random.Generator) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """At most three (class, (64, 64, 3) uint8 RGB crop) per class of one frame."""
    height, width = frame.label.shape
    candidates = object_boxes(frame) + window_boxes(frame, rng)
    taken: dict[int, int] = {}
    for k in rng.permutation(len(candidates)):
        class_id, box = candidates[k]
        if taken.get(class_id, 0) >= _PER_FRAME:
            continue
        taken[class_id] = taken.get(class_id, 0) + 1
        x0, y0, x1, y1 = vary_box(box, rng, width, height)
        crop = frame.image[y0:y1, x0:x1]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        # As Pillow's antialiased filters do: area for shrinking, cubic for growing.
        shrinks = crop.shape[0] >= CROP_SIZE and crop.shape[1] >= CROP_SIZE
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        yield class_id, cv2.resize(np.ascontiguousarray(crop), (CROP_SIZE,) * 2, interpolation=how)


def caption(class_id: int, rng: np.random.Generator) -> tuple[str, str]:
    """(prompt, caption) for a class."""
    prompts = load_taxonomy(TAXONOMY).prompts[class_id]
    first = len(prompts) == 1 or rng.random() < FIRST_PROMPT_SHARE
    prompt = prompts[0] if first else prompts[int(rng.integers(1, len(prompts)))]
    return prompt, TEMPLATES[rng.integers(len(TEMPLATES))].format(prompt)


# A crop, the name of its class, the prompt in its caption, the caption.
Crop = tuple[NDArray[np.uint8], str, str, str]
CropMaker = Callable[[int, int], Iterator[Crop]]


@dataclass(frozen=True)
class _WebJob:
    folder: Path
    index: int
    seed: int
    make: CropMaker


def _crops(index: int, seed: int) -> Iterator[Crop]:
    rng = stream(seed, DOMAIN, "crops", index)
    frame = render(get_domain(DOMAIN), "train", index, seed)
    names = load_taxonomy(TAXONOMY).classes
    for class_id, crop in frame_crops(frame, rng):
        prompt, text = caption(class_id, rng)
        yield crop, names[class_id], prompt, text


def _write_crops(job: _WebJob) -> list[Caption]:
    captions = []
    for k, (crop, name, prompt, text) in enumerate(job.make(job.index, job.seed)):
        file = f"images/{job.index:05d}_{k:02d}.jpg"
        write_rgb(job.folder / file, crop, cv2.IMWRITE_JPEG_QUALITY, 92)
        captions.append(Caption(file, name, prompt, text))
    return captions


def render_web(
    root: Path, seed: int, frames: int = DEFAULT_FRAMES, workers: int | None = None
) -> bool:
    """Writes ``root/web/images/*.jpg`` and ``captions.json``; see :func:`write_crops`.

    A scene gives about 20 crops.
    """
    return write_crops(root, DOMAIN, seed, frames, _crops, (*RENDER_MODULES, "web.py"), workers)


def write_crops(
    root: Path,
    domain: str,
    seed: int,
    frames: int,
    make: CropMaker,
    modules: Sequence[str],
    workers: int | None = None,
) -> bool:
    """Writes captioned crops below ``root/<domain>`` unless they are there.

    Args:
        root: Folder of the world.
        domain: Name of the folder.
        seed: World seed.
        frames: Scenes to cut crops from.
        make: Crops and captions of the scene of an index and a seed.
        modules: Modules of this package that the crops depend on.
        workers: Number of processes; default all cores.

    Returns:
        Whether anything was written.
    """
    folder = root / domain
    parameters = {"domain": domain, "seed": seed, "frames": frames}
    print_ = fingerprint(parameters, modules)
    if is_complete(folder, print_):
        return False
    open_folder(folder, print_, parameters)
    jobs = [_WebJob(folder, i, seed, make) for i in range(frames)]
    results = parallel(_write_crops, jobs, workers)
    captions = [c for part in track(results, f"Rendering {domain}", frames) for c in part]
    text = json.dumps([asdict(c) for c in captions], indent=0)
    write_atomically(folder / CAPTIONS, lambda name: Path(name).write_text(text))
    close_folder(folder, print_, parameters)
    return True


def read_web(folder: Path) -> tuple[list[Caption], NDArray[np.uint8]]:
    """Captions and crops (N, 64, 64, 3) uint8 RGB of the web-like domain."""
    captions = [Caption(**row) for row in json.loads((folder / CAPTIONS).read_text())]
    crops = np.empty((len(captions), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for i, row in enumerate(captions):
        with Image.open(folder / row.file) as picture:
            crops[i] = picture.convert("RGB")
    return captions, crops
