"""The folder of the data sets: one option, one variable."""

import argparse
import os
import re
from pathlib import Path

from mmseg_uda.data_root import VARIABLE, add_data_root_option, resolve_data_root, use_data_root

ROOT = Path(__file__).parents[1]


def test_data_root_variable_replaces_leading_data(monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", "/mnt/sets")
    assert resolve_data_root("data/gta") == "/mnt/sets/gta"
    assert resolve_data_root("/data/gta") == "/data/gta"
    assert resolve_data_root("my/data/gta") == "my/data/gta"
    monkeypatch.delenv("MMSEG_UDA_DATA_ROOT")
    assert resolve_data_root("data/gta") == "data/gta"


def test_the_option_holds_whatever_the_working_directory_becomes(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/elsewhere")
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    add_data_root_option(parser)
    use_data_root(parser.parse_args([]).data_root)
    assert os.environ[VARIABLE] == "/elsewhere"
    use_data_root(parser.parse_args(["--data-root", "sets"]).data_root)
    assert resolve_data_root("data/gta") == str(tmp_path / "sets/gta")


def test_no_command_spells_option_or_variable_again():
    files = [*(ROOT / "mmseg_uda").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    spelt = re.compile(rf"[\"']--data-root[\"']|[\"']{VARIABLE}[\"']")
    found = {p.name for p in files if spelt.search(p.read_text(encoding="utf-8"))}
    assert found == {"data_root.py"}
