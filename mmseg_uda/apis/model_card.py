"""The model card of a published segmentor: README.md as the Hugging Face hub shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmseg_uda.apis.training_facts import Facts
from mmseg_uda.escaping import markdown_code, markdown_text
from mmseg_uda.models.weights.licences import Licence, hub_name, licence_of
from mmseg_uda.protocol import software
from mmseg_uda.taxonomy import Taxonomy

LIBRARY = "mmseg_uda"
DRAWN = (
    "Its data are the miniworld's, drawn images: its numbers do not compare with published ones, "
    "and on photographs it is of no use."
)


@dataclass(frozen=True)
class Description:
    """What a card is made of.

    Attributes:
        name: Of the training, with a mark where it is not its student.
        part: 'student', 'teacher' or 'average of the weights'.
        step: Optimizer steps before the checkpoint, None if unknown.
        facts: Of the training.
        taxonomy: The classes.
        metrics: Content of ``metrics.json``.
        parameters: Of the segmentor.
        encoder: The built encoder.
        files: Name and purpose of every file beside the card.
        base: Name of the encoder that adapters need, None for a whole network.
        place: Address or folder that others load.
        half: Whether weights are stored as float16.
    """

    name: str
    part: str
    step: int | None
    facts: Facts
    taxonomy: Taxonomy
    metrics: Mapping[str, Any]
    parameters: int
    encoder: Any
    files: Mapping[str, str]
    base: str | None
    place: str
    half: bool


def card_text(of: Description) -> str:
    """Returns the card: front matter, use, results, classes, training, licences, citation."""
    licence = licence_of(of.facts.encoder, of.encoder)
    sections = [
        f"---\n{_front_matter(of, licence)}\n---",
        f"# {markdown_text(of.name)}",
        _introduction(of),
        "## Use\n\n" + _use(of),
        "## Results\n\n" + _results(of),
        "## Classes\n\n" + _classes(of.taxonomy),
        "## Training\n\n" + _training(of),
        f"## Versions\n\nPublished with {software()}.",
        "## Licences\n\n" + _licences(of, licence),
        "## Citation\n\n" + _citation(of.facts),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(of: Description, licence: Licence | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    value, facts = of.metrics["metrics"].get("mIoU"), of.facts
    result = EvalResult(
        task_type="image-segmentation",
        task_name="Semantic segmentation",
        dataset_type=_slug(facts.evaluated) or "own",
        dataset_name=facts.evaluated or "own data",
        metric_type="mean_iou",
        metric_name="mIoU",
        metric_value=value,
    )
    words = ("semantic-segmentation", "domain-adaptation", "mmsegmentation", facts.host)
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag="image-segmentation",
        license=None if licence is None else licence.id,
        license_name=None if licence is None else licence.name,
        license_link=None if licence is None else licence.link,
        base_model=hub_name(facts.encoder),
        tags=[tag for tag in map(_slug, words) if tag],
        model_name=of.name,
        eval_results=None if value is None else [result],
    )
    return data.to_yaml(line_break="\n").strip()


def _introduction(of: Description) -> str:
    facts = of.facts
    domains = f"from {facts.source} to {facts.target}" if facts.target else f"on {facts.source}"
    steps = "" if of.step is None else f" after {of.step} steps"
    if facts.steps is not None and of.step is not None:
        unfinished = ", an interim state" if of.step < facts.steps else ""
        steps = f" after {of.step} of {facts.steps} steps{unfinished}"
    text = f"{of.part.capitalize()}{steps}: {facts.network}, {of.parameters / 1e6:.1f} M parameters"
    if facts.source:
        text += f", trained {domains}"
    if facts.method:
        text += f". Method: {facts.method}"
    lines = [markdown_text(f"{text}.", paragraph=True)]
    if of.base is not None:
        lines.append(
            f"These are **adapters alone**: the frozen encoder {markdown_code(of.base)} "
            "is not in this folder. It is looked for by that name, and another one is refused."
        )
    return "\n\n".join([*lines, *([DRAWN] if facts.drawn else [])])


def _use(of: Description) -> str:
    place = re.sub(r"[\"\\\n]", "", of.place)
    files = "\n".join(f"* `{name}`: {what}" for name, what in of.files.items())
    return (
        f"```python\nfrom mmseg_uda.apis import init_segmentor, predict\n\n"
        f'model = init_segmentor("{place}")\n'
        'prediction = predict(model, "street.jpg")\nprediction.label  # (H, W), trainIds\n```\n\n'
        f"```bash\nmmseg-uda infer {place} pictures/ --out predictions/\n"
        f"mmseg-uda test CONFIG {place}\n```\n\n{files}"
    )


def _results(of: Description) -> str:
    metrics, classes = of.metrics["metrics"], of.metrics["IoU"]
    if not metrics:
        return markdown_text(of.metrics["note"], paragraph=True)
    lines = [markdown_text(of.metrics["note"], paragraph=True), ""] if of.metrics["note"] else []
    lines.append(f"On {markdown_text(of.facts.evaluated or 'own data')}, in per cent:")
    rows = [(name, value) for name, value in (*metrics.items(), *classes.items())]
    lines += ["", *_table(("metric or class (IoU)", "value"), rows)]
    if of.facts.protocol:
        lines += ["", f"**Evaluation protocol.** {markdown_text(of.facts.protocol)}."]
    if of.half:
        lines += ["", "Measured before the weights were rounded to float16."]
    return "\n".join(lines)


def _classes(taxonomy: Taxonomy) -> str:
    rows = [
        (number, name, "#{:02x}{:02x}{:02x}".format(*color))
        for number, (name, color) in enumerate(zip(taxonomy.classes, taxonomy.palette, strict=True))
    ]
    head = (
        f"{len(taxonomy)} classes ({markdown_text(taxonomy.name)}); {taxonomy.ignore_index} is "
        "unlabelled. `taxonomy.yaml` has their colours, prompts and the ids of label files."
    )
    return "\n".join([head, "", *_table(("trainId", "class", "colour"), rows)])


def _training(of: Description) -> str:
    facts = of.facts
    rows = {
        "method": facts.method,
        "trainer": facts.host,
        "network": facts.network,
        "initial weights of the encoder": _stem(facts.encoder),
        "source": facts.source,
        "target": facts.target,
        "steps": "" if facts.steps is None else str(facts.steps),
        **facts.rows,
    }
    known = [(name, value) for name, value in rows.items() if value]
    return "\n".join(_table(("", ""), known)) if known else "The checkpoint says nothing of it."


def _licences(of: Description, licence: Licence | None) -> str:
    encoder = _stem(of.facts.encoder)
    if licence is not None:
        text = f"Weights of the encoder ({encoder}): {licence.text}."
    elif encoder:
        text = f"The licence of the encoder's initial weights ({encoder}) is not known here."
    else:
        text = "The encoder's initial weights are not known."
    if of.facts.source:
        text += " The data sets have terms of their own, which may restrict the use of models."
    return markdown_text(text, paragraph=True)


def _citation(facts: Facts) -> str:
    entries = [card.bibtex.strip() for card in facts.cards if card.bibtex]
    without = [card.title for card in facts.cards if not card.bibtex]
    lines = ["```bibtex\n" + "\n".join(entries) + "\n```"] if entries else []
    if without:
        lines.append(markdown_text(f"Also: {', '.join(without)}.", paragraph=True))
    return "\n\n".join(lines) or f"See the licences and citations of {LIBRARY}."


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        texts = (cell if cells[0] == "---" else markdown_text(str(cell)) for cell in cells)
        yield f"| {' | '.join(texts)} |"


def _stem(checkpoint: str | None) -> str:
    """A name of weights, of a path on this machine its last part."""
    return "" if checkpoint is None else re.split(r"[/\\]", checkpoint)[-1]


def _slug(text: str) -> str:
    """A tag of the hub."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]
