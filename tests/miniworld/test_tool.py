import runpy
import sys

import pytest


def test_the_help_shows_defaults_that_are_values(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tools/make_miniworld.py", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path("tools/make_miniworld.py", run_name="__main__")
    text = capsys.readouterr().out
    assert "data/miniworld" in text and "20240" in text
    assert not any(word in text for word in ("None", "False", "()", "('", "default:"))
