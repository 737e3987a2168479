"""Drafting taxonomy maps with a language model."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import (
    candidates_prompt,
    contexts_prompt,
    import_answers,
    load_taxonomy,
    load_taxonomy_map,
    read_answer,
)


@pytest.fixture
def answer():
    """What a model could answer for the closed set, with one class that takes two."""
    classes = load_taxonomy("cityscapes19").classes
    return {**{name: [name] for name in classes}, "wall": ["Wall", "fence"], "Unlabeled": ["train"]}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_prompts_name_every_class():
    text = candidates_prompt("cityscapes19", "idd26")
    for name in (*load_taxonomy("cityscapes19").classes, *load_taxonomy("idd26").classes):
        assert f"- {name}\n" in text
    assert '{"<source class>": ["<target class>", "..."], "unlabeled": ["..."]}' in text
    text = contexts_prompt(["autorickshaw"], scene="Indian streets", most=5)
    assert "- autorickshaw" in text and "up to 5" in text and "Indian streets" in text
    assert "- Guard Rail\n" in contexts_prompt("mapillary66")


@pytest.mark.parametrize(
    "text",
    [
        '{"road": ["Road"]}',
        'Sure, here it is:\n```json\n{"road": ["Road"]}\n```\nAnything else?',
        'Here: {"road": [" Road "]} I hope {this} helps.',
    ],
)
def test_answers_in_their_usual_wrappings(text):
    assert read_answer(text) == {"road": ["Road"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I cannot do that.", "a.txt holds no JSON object"),
        ('\n{"road": ["Road",]}', "a.txt, line 2: no valid JSON"),
        ('{"road": "Road"}', "a.txt, entry 'road': 'Road' is not a list"),
        ('{"road": ["a"], "road": ["b"]}', "a.txt has the key 'road' twice"),
        ('{"a":' * 100_000, "a.txt cannot be read: maximum recursion"),
        ('{"a": 1' + "0" * 5000, "a.txt cannot be read: Exceeds the limit"),
    ],
)
def test_wrong_answers_are_explained(text, message):
    with pytest.raises(UserError, match=message):
        read_answer(text, "a.txt")


def test_answers_become_a_valid_map(tmp_path, answer):
    out = tmp_path / "drafted.yaml"
    contexts = write(tmp_path / "contexts.txt", {"Fence": ["fence", "wooden fence"]})
    candidates = write(tmp_path / "candidates.txt", answer)
    made, doubts = import_answers(candidates, contexts, "cityscapes19", "cityscapes19", out)
    loaded = load_taxonomy_map(out)
    assert loaded.fingerprint() == made.fingerprint() and doubts == []
    assert [loaded.names[n] for n in loaded.candidates[3]] == ["wall", "fence", "train"]
    assert loaded.defaults == tuple(range(19))
    assert loaded.contexts[loaded.names.index("fence")] == ("fence", "wooden fence")
    assert loaded.contexts[loaded.names.index("pole")] == load_taxonomy("cityscapes19").prompts[5]


def test_wrong_classes_are_named_and_nothing_is_written(tmp_path, answer):
    out = tmp_path / "drafted.yaml"
    del answer["sky"]
    answer["pole"] = ["pole", "lamp post"]
    candidates = write(tmp_path / "a.txt", answer)
    with pytest.raises(UserError) as error:
        import_answers(candidates, None, "cityscapes19", "cityscapes19", out)
    assert "source class 'sky' has no default" in str(error.value)
    assert "source class 'pole': candidate 'lamp post' has no target class" in str(error.value)
    assert not out.exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        import_answers(tmp_path / "no.txt", None, "cityscapes19", "idd26", tmp_path / "o.yaml")


def run_tool(monkeypatch, *arguments):
    tool = Path(__file__).parents[2] / "tools/draft_taxonomy.py"
    monkeypatch.setattr(sys, "argv", [str(tool), *map(str, arguments)])
    return runpy.run_path(str(tool))["main"]()


def test_the_tool_prints_prompts_and_writes_a_map(tmp_path, answer, monkeypatch, capsys):
    run_tool(monkeypatch, "candidates", "cityscapes19", "idd26")
    assert capsys.readouterr().out.strip() == candidates_prompt("cityscapes19", "idd26").strip()
    run_tool(monkeypatch, "contexts", "cityscapes19", "--classes", "sky", "--scene", "harbours")
    assert capsys.readouterr().out.strip() == contexts_prompt(["sky"], "harbours").strip()
    taxonomies = ("cityscapes19", "cityscapes19")
    files = ("--candidates", write(tmp_path / "a.json", answer), "--out", tmp_path / "map.yaml")
    run_tool(monkeypatch, "import", *taxonomies, *files)
    assert "19 source classes" in capsys.readouterr().out
    assert load_taxonomy_map(tmp_path / "map.yaml").defaults == tuple(range(19))
    with pytest.raises(UserError, match="no class 'sea'"):
        run_tool(monkeypatch, "contexts", "cityscapes19", "--classes", "sea")
