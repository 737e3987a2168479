import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("target", ["demo", "test", "lint"])
def test_every_target_installs_first(target):
    done = subprocess.run(
        ["make", "-n", target, "VENV=absent"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout
    assert "-m venv absent" in lines
    assert "pip install -e '.[test]' -c constraints.txt" in lines
    assert lines.index("pip install") < lines.rindex("absent/bin/")


def test_ci_lints_and_runs_the_tests():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.startswith("#!")
    assert script.index("make lint") < script.index("make test")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_constraints_fit_the_lower_bounds_of_setup():
    text = (ROOT / "setup.py").read_text()
    bounds = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', text))
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        match = re.match(r"([\w.-]+)==([\w.]+)", line)
        if match:
            pins[match[1].lower().replace("_", "-")] = match[2]

    def numbers(version):
        return [int(part) for part in re.findall(r"\d+", version)][:3]

    for name, lowest in bounds.items():
        assert numbers(pins[name.lower().replace("_", "-")]) >= numbers(lowest), name
    # torch's release names torchvision's
    assert numbers(pins["torchvision"])[1] == numbers(pins["torch"])[1] + 15


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
