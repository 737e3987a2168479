"""The image's steps are those of ``make install``, on bases that are plain image names."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmseg_uda import __version__

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
BASES = re.findall(r"\bBASE=(\S+)", TEXT + (ROOT / "docs/quick_start.md").read_text())


def steps():
    """(instruction, arguments) of each step, in order."""
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
    whole = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in whole.splitlines()]


def copied():
    """Files that are there when ``make install`` runs."""
    before = steps()[: steps().index(("RUN", "make install"))]
    return [(name, words[-1]) for kind, rest in before if kind == "COPY"
            for words in [rest.split()] for name in words[:-1]]  # fmt: skip


def test_system_packages_then_make_install():
    system, install = [rest for kind, rest in steps() if kind == "RUN"]
    assert install == "make install"
    assert system.startswith("apt-get update && ") and system.endswith("/var/lib/apt/lists/*")
    for command in re.findall(r"apt-get install[^&;]*", system):
        assert "-y --no-install-recommends" in command
    assert steps()[-1][0] == "CMD" and ("FROM", "${BASE}") in steps()


@pytest.mark.parametrize("base", BASES)
def test_a_base_is_an_image_name_with_a_tag(base):
    name, _, tag = base.partition(":")
    assert tag and tag != "latest"
    assert re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+)?", name)  # no registry's host


def test_there_is_one_base_for_cpus_and_one_for_gpus():
    assert {base.split(":")[0] for base in BASES} == {"python", "nvidia/cuda"}


def test_what_is_copied_first_is_enough_to_install(tmp_path):
    for name, folder in copied():
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / folder)
    make = ["make", "-n", "install", f"PYTHON={sys.executable}"]
    plan = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "pip install -e '.[test]' -c constraints.txt" in plan
    known = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert known.split()[-1] == __version__


def test_the_image_gets_nothing_that_git_ignores():
    def patterns(name):
        lines = (ROOT / name).read_text().splitlines()
        return {line.removeprefix("**/").rstrip("/") for line in lines if not line.startswith("#")}

    assert patterns(".gitignore") - patterns(".dockerignore") == set()
    assert ".git" in patterns(".dockerignore")
