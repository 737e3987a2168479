"""Prompts for a language model that drafts a taxonomy map, and the way back (DynAlign).

Nothing here talks to a model: prompts are printed, pasted into any chat, and the JSON answers are
saved to files. The wording is ours; the prompts behind the published lists are not known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmseg_uda.errors import UserError
from mmseg_uda.files import write_text
from mmseg_uda.regular_files import read_text

from .taxonomy import Taxonomy, load_taxonomy
from .taxonomy_map import TaxonomyMap, taxonomy_map_from

SHARED = "unlabeled"
"""Key of an answer under which what belongs to no source class is collected."""
MOST_CONTEXTS = 10

CANDIDATES_TEMPLATE = """\
I have images of {scene}. A network has labelled every pixel with one of these source classes:
{source}

I want to relabel the same pixels with these target classes:
{target}

For each source class, list all target classes that a pixel of that source class could really \
carry. Put the target class that fits it best in general first. A target class may stand in the \
lists of several source classes. Think of what a network that knows only the source classes would \
call an object of each target class. Collect target classes that fit no source class under \
"{shared}". Leave out target classes that are too small or too vague to be recognised from a \
picture of the object alone.

Answer with one JSON object and nothing else. Its keys are the source classes and "{shared}", its \
values are lists of target classes, all spelled exactly as above:
{{"<source class>": ["<target class>", "..."], "{shared}": ["..."]}}
"""

CONTEXTS_TEMPLATE = """\
Each of these class names is going to be compared with image crops by a vision-language model, in \
sentences such as "{sentence}":
{names}

For each class, give up to {most} short synonyms or variants in context, as the thing is seen in \
images of {scene}: two to four words, no articles, no brand names, starting with the name itself. \
Do not use a phrase for two classes. If a name is unambiguous and has no common synonym, give the \
name alone.

Answer with one JSON object and nothing else. Its keys are the class names spelled exactly as \
above, its values are lists of phrases:
{{"<class name>": ["<phrase>", "..."]}}
"""


def candidates_prompt(
    source: str | Taxonomy, target: str | Taxonomy, scene: str = "street scenes"
) -> str:
    """Returns the prompt that asks for the candidates of every source class.

    Args:
        source: Taxonomy of the network.
        target: Taxonomy that is wanted.
        scene: What the images show.
    """
    return CANDIDATES_TEMPLATE.format(
        scene=scene,
        source=_listed(load_taxonomy(source).classes),
        target=_listed(load_taxonomy(target).classes),
        shared=SHARED,
    )


def contexts_prompt(
    names: str | Taxonomy | Sequence[str],
    scene: str = "street scenes",
    template: str = "a photo of {}",
    most: int = MOST_CONTEXTS,
) -> str:
    """Returns the prompt that asks for the context names of classes.

    Args:
        names: Class names, or a taxonomy for all of its classes.
        scene: What the images show.
        template: Sentence that the phrases will stand in.
        most: Phrases per class.
    """
    if isinstance(names, (str, Taxonomy)):
        names = load_taxonomy(names).classes
    return CONTEXTS_TEMPLATE.format(
        names=_listed(names), scene=scene, sentence=template.replace("{}", "..."), most=most
    )


def read_answer(text: str, where: str | Path = "the answer") -> dict[str, list[str]]:
    """Parses a model's answer: a JSON object of lists, perhaps in a code block or among prose.

    Raises:
        UserError: There is no JSON object, or an entry is not a list of texts.
    """
    fenced = re.search(r"```(?:json)?\s*\n(.*?)```", text, re.DOTALL)
    body = fenced[1] if fenced else text
    start = body.find("{")
    if start < 0:
        raise UserError(f"{where} holds no JSON object.", fix="Save the model's whole answer.")
    try:
        content, _ = json.JSONDecoder(object_pairs_hook=_unique).raw_decode(body[start:])
    except json.JSONDecodeError as error:
        line = body[:start].count("\n") + error.lineno
        raise UserError(
            f"{where}, line {line}: no valid JSON: {error.msg}.",
            fix="Ask the model to correct it, or correct it by hand.",
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, deep nesting
        raise UserError(f"{where} cannot be read: {error}.", fix="Ask the model again.") from error
    except _Twice as error:
        raise UserError(
            f"{where} has the key '{error}' twice.", fix="Merge its two lists."
        ) from error
    for key, names in content.items():
        right = isinstance(names, list) and all(isinstance(n, str) and n.strip() for n in names)
        if not right:
            raise UserError(
                f"{where}, entry '{key}': {names!r} is not a list of texts.",
                fix='For example ["road"].',
            )
    return {key.strip(): [name.strip() for name in names] for key, names in content.items()}


def map_content(
    source: str | Path,
    target: str | Path,
    candidates: Mapping[str, Sequence[str]],
    contexts: Mapping[str, Sequence[str]] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Returns the content of a map's YAML file from two answers; it is not validated yet.

    Args:
        source: Name or path of the source taxonomy.
        target: Name or path of the target taxonomy.
        candidates: Answer to :func:`candidates_prompt`. Spelling is taken from the taxonomies
            where it differs in upper and lower case alone.
        contexts: Answer to :func:`contexts_prompt`; classes without an entry keep the prompts of
            the target taxonomy.
        defaults: Target class of a source class, in place of the first of its list.
    """
    sources, targets = load_taxonomy(source).classes, load_taxonomy(target).classes
    lists = {
        _spelled(key, sources): [_spelled(name, targets) for name in names]
        for key, names in candidates.items()
        if key.lower() != SHARED
    }
    shared = [n for key, names in candidates.items() if key.lower() == SHARED for n in names]
    first = {key: names[0] for key, names in lists.items() if names}
    content: dict[str, Any] = {
        "source": str(source),
        "target": str(target),
        "default": {**first, **(defaults or {})},
        "candidates": lists,
        "shared_candidates": [_spelled(name, targets) for name in shared],
        "templates": ["a photo of {}"],
    }
    if contexts:
        content["context"] = {_spelled(k, targets): list(v) for k, v in contexts.items()}
    return content


def import_answers(
    candidates: str | Path,
    contexts: str | Path | None,
    source: str | Path,
    target: str | Path,
    out: str | Path,
) -> tuple[TaxonomyMap, list[str]]:
    """Turns saved answers into a map's YAML file, which is written only if it is valid.

    Args:
        candidates: File with the answer to :func:`candidates_prompt`.
        contexts: File with the answer to :func:`contexts_prompt`, or None.
        source: Name or path of the source taxonomy.
        target: Name or path of the target taxonomy.
        out: YAML file to write.

    Returns:
        The map, and what is doubtful about it.

    Raises:
        UserError: A file cannot be read, or its entries do not make a map; names class and entry.
    """
    answers = [None if p is None else read_answer(_text(p), p) for p in (candidates, contexts)]
    out = Path(out)
    content = map_content(_located(source), _located(target), answers[0] or {}, answers[1])
    content = {"name": out.stem, **content}
    found, doubts = taxonomy_map_from(content, out)
    head = "# Drafted by a language model; read it before you use it.\n"
    write_text(out, head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=98))
    return found, doubts


def _located(taxonomy: str | Path) -> str:
    """A taxonomy's file by its whole path, since the map may lie elsewhere; a name as it is."""
    path = Path(taxonomy)
    return str(path.resolve()) if path.suffix in (".yaml", ".yml") else str(taxonomy)


def _text(path: str | Path) -> str:
    return read_text(path, "save the answer as text")


def _listed(names: Sequence[str]) -> str:
    return "\n".join(f"- {name}" for name in names)


def _spelled(name: str, classes: Sequence[str]) -> str:
    return next((c for c in classes if c.lower() == name.lower()), name)


class _Twice(Exception):
    """A key stands twice in an object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise _Twice(key)
        content[key] = value
    return content
