"""The command ``tools/doctor.py``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.doctor.data import check_data
from mmseg_uda.experiments.doctor.findings import Finding, Level
from mmseg_uda.experiments.doctor.installation import check_installation
from mmseg_uda.experiments.plan import read_config
from mmseg_uda.taxonomy.layouts import DATA_ROOT_VARIABLE

SIGNS = {Level.OK: ("✓", "green"), Level.NOTE: ("•", "yellow"), Level.PROBLEM: ("✗", "bold red")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        0 if all is well, 1 if there are problems.

    Raises:
        UserError: When a config file does not exist.
    """
    parser = argparse.ArgumentParser(
        description="Checks the installation, and the weights and data sets that configs need."
    )
    parser.add_argument("configs", nargs="*", type=Path, metavar="CONFIG")
    parser.add_argument("--decode", action="store_true", help="read every image and label")
    parser.add_argument("--nproc", type=int, default=os.cpu_count() or 1, help="for --decode")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="in place of ./data")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    if options.data_root is not None:
        os.environ[DATA_ROOT_VARIABLE] = str(options.data_root.resolve())
    findings = check_installation()
    configs = []
    for path in options.configs:
        if not path.is_file():
            raise UserError(f"There is no config file {path}.", fix="check the path")
        try:
            configs.append(read_config(path))
        except UserError as error:
            findings.append(Finding("config", Level.PROBLEM, error.message, error.fix or ""))
        else:
            findings.append(Finding("config", Level.OK, f"{path} can be read"))
    findings += check_data(configs, options.decode, options.nproc)
    findings += _check_weights(configs, findings)
    if options.json:
        content = [{**asdict(finding), "level": finding.level.value} for finding in findings]
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        _show(findings)
    return int(any(finding.level is Level.PROBLEM for finding in findings))


def _check_weights(configs: Sequence[dict[str, Any]], before: Sequence[Finding]) -> list[Finding]:
    broken = any(f.area == "installation" and f.level is Level.PROBLEM for f in before)
    if not configs or broken:  # weights are read with the packages that are missing
        return []
    missing = preflight.missing_weights(configs)
    if not missing:
        return [Finding("weights", Level.OK, "all weights are there")]
    return [
        Finding("weights", Level.PROBLEM, f"{path.dataset}: {path.path} is missing", path.fix)
        for path in missing
    ]


def _show(findings: Sequence[Finding]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            console.print(f"\n[bold]{area}[/]")
        sign, style = SIGNS[finding.level]
        console.print(f"  {sign} {finding.message}", style=style, markup=False)
        if finding.fix and finding.level is not Level.OK:
            console.print(f"      Fix: {finding.fix}", markup=False)
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    console.print(f"\nProblems: {problems}" if problems else "\nAll is well.")
