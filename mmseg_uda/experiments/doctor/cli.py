"""The command ``tools/doctor.py``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.config_files import find_config
from mmseg_uda.costs import cost_lines
from mmseg_uda.data_root import add_data_root_option, use_data_root
from mmseg_uda.errors import UserError
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.experiments.doctor.build import check_build
from mmseg_uda.experiments.doctor.data import check_data
from mmseg_uda.experiments.doctor.installation import check_installation
from mmseg_uda.experiments.doctor.networks import check_networks
from mmseg_uda.experiments.doctor.weights import check_weights
from mmseg_uda.findings import Finding, Level, problem
from mmseg_uda.inspection import check_shape

SIGNS = {
    Level.OK: ("✓", "green"),
    Level.NOTE: ("•", "yellow"),
    Level.WARNING: ("! Warning:", "bold yellow"),
    Level.PROBLEM: ("✗", "bold red"),
}
AREAS = ("installation", "config", "data", "weights")
BAR = 30  # characters


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        0 if all is well, 1 if there are problems.

    Raises:
        UserError: When a config file does not exist.
    """
    parser = Parser(
        description="Checks the installation, and the weights and data sets that configs need."
    )
    parser.add_argument("configs", nargs="*", type=Path, metavar="CONFIG")
    parser.add_argument(
        "--decode",
        action="store_true",
        help="read every image and label: sizes, ids, classes, copies across splits, statistics",
    )
    parser.add_argument(
        "--nproc", type=worker_count, default=os.cpu_count() or 1, help="for --decode"
    )
    add_data_root_option(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    use_data_root(options.data_root)
    # Packages print while they are imported; --json owns the standard output.
    with contextlib.redirect_stdout(sys.stderr):
        findings = _diagnose(options)
    findings.sort(key=lambda finding: AREAS.index(finding.area))
    if options.json:
        content = [{**vars(finding), "level": finding.level.value} for finding in findings]
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        _show(findings)
    return int(any(finding.level is Level.PROBLEM for finding in findings))


def _diagnose(options: argparse.Namespace) -> list[Finding]:
    if options.configs:
        # First of all: the hub's package reads the setting when it is imported.
        preflight.settle_for_cache_when_offline()
    findings = check_installation()
    configs = []
    for path in options.configs:
        path = find_config(path)
        try:
            config = plain_config(path)
        except UserError as error:
            findings.append(problem("config", error))
            continue
        misshapen = check_shape(config)
        findings += misshapen or [Finding("config", Level.OK, f"{path} can be read.")]
        if not misshapen:
            configs.append(config)
            costs = cost_lines([(path.stem, config)])
            findings += [Finding("config", Level.OK, line.strip()) for line in costs]
    findings += check_data(configs, options.decode, options.nproc)
    broken = any(f.area == "installation" and f.level is Level.PROBLEM for f in findings)
    if configs and not broken:  # weights are read with the packages that may be broken
        findings += check_weights(configs)
        findings += check_networks(configs)
    if configs and not any(f.level is Level.PROBLEM for f in findings):
        findings += check_build(configs)
    return findings


def _show(findings: Sequence[Finding]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            console.print(f"\n[bold]{area}[/]")
        sign, style = SIGNS[finding.level]
        console.print(f"  {sign} {finding.message}", style=style, markup=False)
        if finding.details.get("pixels"):
            _draw(console, finding.details["pixels"])
        if finding.fix and finding.level is not Level.OK:
            console.print(f"      Fix: {finding.fix}", markup=False)
    levels = [finding.level for finding in findings]
    problems, warned = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    if problems or warned:
        console.print(f"\nProblems: {problems}" + (f", warnings: {warned}" if warned else ""))
    else:
        console.print("\nAll is well.")


def _draw(console: Console, pixels: Mapping[str, int]) -> None:
    """A bar per class; its length is the square root of the share, so that rare ones show."""
    total = sum(pixels.values()) or 1
    width = max(map(len, pixels))
    longest = max(pixels.values()) / total or 1
    for name, number in pixels.items():
        share = number / total
        bar = "█" * round(BAR * (share / longest) ** 0.5)
        console.print(f"      {name:<{width}} {100 * share:8.4f} %  {bar}", markup=False)
