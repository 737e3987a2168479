"""The stage that draws what the other stages found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_uda.files import replacing, write_text
from mmseg_uda.methods.dynalign import fingerprint, image_summary, nearest
from mmseg_uda.methods.dynalign.outputs import LABELS, read_label_map
from mmseg_uda.methods.dynalign.running import Item
from mmseg_uda.methods.dynalign.stages import RecordStage, Run
from mmseg_uda.visualization.alignment_page import RegionDecision, alignment_page
from mmseg_uda.visualization.alignment_picture import AlignmentView, alignment_picture
from mmseg_uda.visualization.canvas import Classes

PICTURES, PAGES = "visualization", "inspection"
FORMAT = 1


class Visualize(RecordStage):
    """Writes ``visualization/<name>.png`` and, where asked for, ``inspection/<name>.html``.

    Args:
        run: What the stages share.
        pages: Whether to write the page with every region's candidates.
        width: Of each of a picture's four parts, in pixels.
    """

    name, verb = "visualize", "Drawing"

    def __init__(self, run: Run, pages: bool = False, width: int = 640) -> None:
        super().__init__(run)
        self.pages, self.width = pages, width
        taxonomy = run.engine.taxonomy
        self.source_classes = Classes.of(taxonomy.source.metainfo())
        self.target_classes = Classes.of(taxonomy.target.metainfo())

    def mark(self, item: Item) -> str:
        """See :class:`Stage`."""
        relabel = self.run.stages["relabel"].mark(item)
        return fingerprint(stage=self.name, format=FORMAT, relabel=relabel, width=self.width)

    def files(self, item: Item) -> list[Path]:
        """What is written for an image."""
        files = [self.run.out / PICTURES / f"{item.name}.png"]
        return files + [self.run.out / PAGES / f"{item.name}.html"] * self.pages

    def stored(self, item: Item) -> str | None:
        """See :class:`Stage`; None too where a file that is asked for is missing."""
        return super().stored(item) if all(f.is_file() for f in self.files(item)) else None

    def load(self, item: Item) -> tuple:
        """The image, regions, source prediction, decisions and label map."""
        small, masks = self.view(item), self.masks(item)
        whole = read_label_map(self.run.outputs.path(LABELS, item))
        view = AlignmentView(
            image=small.rgb,
            source=self.predicted(item).labels,
            owner=masks.owner(),
            aligned=nearest(whole, small.shape),
            source_classes=self.source_classes,
            target_classes=self.target_classes,
            shape=(whole.shape[0], whole.shape[1]),
        )
        return view, masks, self.run.stages["relabel"].read(item)

    def work(self, item: Item, loaded: tuple) -> None:
        """Draws."""
        view, masks, record = loaded
        files = self.files(item)
        self._save(alignment_picture(view, self.width), files[0])
        if self.pages:
            facts = image_summary(record)
            text = (
                f"{facts['masks']} regions cover {100 * facts['covered']:.1f} % of the image; "
                f"{100 * facts['switched']:.1f} % of them got another class than the default. "
                f"A candidate has to exceed {self.options.threshold:g}."
            )
            decisions = region_decisions(record, self.run.engine.names)
            page = alignment_page(item.name, view, masks, decisions, self.options.threshold, text)
            write_text(files[1], page)
        self._write(item, {})

    def _save(self, picture: Image.Image, path: Path) -> None:
        with replacing(path) as temporary:
            picture.save(temporary, format="PNG", compress_level=3)


def region_decisions(record: dict[str, np.ndarray], names: tuple[str, ...]) -> list[RegionDecision]:
    """What a record of the relabel stage says about every region.

    Args:
        record: As the stage wrote it.
        names: Prompt-names.
    """
    decisions = []
    for m in range(len(record["majority"])):
        part = slice(record["offsets"][m], record["offsets"][m + 1])
        ids, values = record["names"][part].tolist(), record["probabilities"][part].tolist()
        decisions.append(
            RegionDecision(
                source=int(record["majority"][m]),
                target=int(record["ids"][m]),
                accepted=bool(record["accepted"][m]),
                changed=bool(record["changed"][m]),
                candidates=[(names[n], p) for n, p in zip(ids, values, strict=True)],
            )
        )
    return decisions
