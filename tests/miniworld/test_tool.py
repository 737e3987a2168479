import runpy
import sys

import pytest

from mmseg_uda.miniworld import prepare


def test_the_help_shows_defaults_that_are_values(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tools/make_miniworld.py", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path("tools/make_miniworld.py", run_name="__main__")
    text = capsys.readouterr().out
    assert "data/miniworld" in text and "20261" in text
    assert not any(word in text for word in ("None", "False", "()", "('", "default:"))


def test_weights_that_are_not_needed_are_not_made(tmp_path, monkeypatch):
    made = []

    def note(root, folder, name, *_):
        made.append(name)
        return folder / name

    monkeypatch.setattr(prepare, "_ensure_weights", note)
    folders = (tmp_path, tmp_path / "weights")
    prepare.ensure_miniworld(*folders, domains=(), skip=["clip"])
    assert made == ["nano_backbone"]
    prepare.ensure_miniworld(*folders, domains=())
    assert made[1:] == ["nano_backbone", "clip"]
