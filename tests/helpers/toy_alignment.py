"""A world of two source classes and four colours, aligned without any network."""

import cv2
import numpy as np
import yaml

from mmseg_uda.apis.image_files import find_images
from mmseg_uda.foundation import GridProposer, ToyScorer
from mmseg_uda.methods.dynalign import Engine, LabelFolder, Options, Outputs, Pipeline, Run
from mmseg_uda.taxonomy import load_taxonomy_map

RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (240, 240, 240)
COLORS = {"ground": RED, "marking": WHITE, "thing": GREEN, "sign": BLUE}
TABLE = {f"a photo of {name}": color for name, color in COLORS.items()}
TAXONOMY = {
    "name": "toy",
    "source_classes": ["ground", "thing"],
    "target_classes": list(COLORS),
    "palette": [list(color) for color in COLORS.values()],
    "default": {"ground": "ground", "thing": "thing"},
    "candidates": {"ground": ["ground", "marking"], "thing": ["thing", "sign"]},
    "context": {name: [name] for name in COLORS},
    "default_padding": 2,
}
SIZE, CELL = 64, 16
OPTIONS = dict(working_size="original", context_offsets=(0, 2), minor_padding=1, threshold=0.6)


def taxonomy(folder, **changes):
    """The toy taxonomy map, read from a file as users write it."""
    path = folder / f"toy-{abs(hash(str(changes)))}.yaml"
    path.write_text(yaml.safe_dump({**TAXONOMY, **changes}))
    return load_taxonomy_map(path)


def picture(*colors):
    """Four squares of 32 pixels in the given RGB colours, row by row; RGB."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    half = SIZE // 2
    for k, color in enumerate(colors):
        y, x = divmod(k, 2)
        image[y * half : (y + 1) * half, x * half : (x + 1) * half] = color
    return image


def halves():
    """Source prediction: upper half ground (0), lower half thing (1)."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[SIZE // 2 :] = 1
    return labels


def write_world(root, count=4):
    """``images`` and ``source`` below ``root``: squares in changing order, some in a subfolder."""
    colors = [RED, WHITE, GREEN, BLUE]
    for k in range(count):
        name = f"{'town/' if k % 2 else ''}frame_{k}"
        shown = colors[:2][:: 1 if k % 4 < 2 else -1] + colors[2:][:: 1 if k % 3 else -1]
        for kind, array in (("images", picture(*shown)[..., ::-1]), ("source", halves())):
            path = root / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), array)
    return root


class Recorded(ToyScorer):
    """The toy scorer; keeps the number of crops of every pass."""

    def __init__(self, **options):
        super().__init__(**options)
        self.passes, self.phrases = [], []

    def encode_image(self, pixels):
        self.passes.append(len(pixels))
        return super().encode_image(pixels)

    def encode_text(self, prompts, device):
        self.phrases += prompts
        return super().encode_text(prompts, device)


def pipeline(root, out, share=(0, 1), taxonomy_map=None, kinds=("labels", "confidence"), **given):
    """The pipeline over a written world; ``given`` are options and tools."""
    from mmseg_uda.methods.dynalign import shard

    running = {k: given.pop(k) for k in ("workers", "overwrite", "strict") if k in given}
    proposer = given.pop("proposer", None) or GridProposer(CELL)
    source = given.pop("source", None) or LabelFolder(root / "source")
    options = Options(**{**OPTIONS, **given})
    chosen = taxonomy_map or taxonomy(root)
    engine = Engine(chosen, Recorded(table=TABLE, input_size=8), options, text_cache=out / "text")
    outputs = Outputs(out, chosen.target_classes, chosen.palette, kinds)
    run = Run(out, options, proposer, source, engine, outputs)
    items = shard(find_images([root / "images"], out), *share)
    return Pipeline(run, items, share, **running)


def run_all(*args, **kwargs):
    """Runs all stages; the summary."""
    made = pipeline(*args, **kwargs)
    return made(list(made.run.stages.values()))


def files(out, *folders):
    """Content of all files below the given folders, by path."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for folder in folders
        for path in sorted((out / folder).rglob("*"))
        if path.is_file()
    }
