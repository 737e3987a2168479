"""Forecasts of all rows of tables, stored for ``run_experiments.py`` and written into the docs.

python tools/benchmark.py table --exp 90 301 411 500 600 --write
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mmseg_uda.calling import PACKED, ROOT, program
from mmseg_uda.cli import Parser
from mmseg_uda.costs import FILE, GIB, kind, stored, uncounted
from mmseg_uda.errors import UserError
from mmseg_uda.files import write_json

PAGE = ROOT / "docs" / "memory_and_speed.md"
BEGIN, END = "<!-- forecast: begin -->\n", "<!-- forecast: end -->\n"
TABLES = ("90", "301", "411", "500", "600")


def main(argv: Sequence[str]) -> int:
    """Prints the table; with ``--write`` store and document it.

    Raises:
        UserError: ``--write`` in an installed package.
    """
    parser = Parser(f"{program()} table", description=__doc__)
    parser.add_argument("--exp", nargs="+", default=list(TABLES), help="tables to count")
    parser.add_argument("--write", action="store_true", help=f"store it, also in {PAGE.name}")
    parser.add_argument("--only-new", action="store_true", help="count only what is not stored")
    args = parser.parse_args(argv)
    if args.write and PACKED:
        raise UserError(
            "--write changes files of a checkout, and this is an installed package.",
            fix="Leave it out: the table is printed.",
        )
    costs: dict[str, dict[str, Any]] = dict(stored()) if args.only_new else {}
    lines = [HEAD]
    for table, label, config in rows(args.exp):
        key = kind(config)
        if key is None:
            continue
        if key not in costs:
            costs[key] = count(config)
            print(f"counted: {table}, {label}", file=sys.stderr, flush=True)
            if args.write:
                write_json(FILE, costs)
        lines.append(line(table, label, config, costs[key]))
    text = "".join(f"{entry}\n" for entry in lines)
    print(text, end="")
    if args.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(before + BEGIN + text + END + after, encoding="utf-8")
    return 0


def rows(tables: Sequence[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Table, label and resolved config of every row."""
    for experiment in runpy.run_path(str(ROOT / "experiments.py"))["EXPERIMENTS"]:
        if str(experiment.id) in tables:
            for row in experiment.rows:
                yield str(experiment.id), row.label, row.resolved


def count(config: dict[str, Any]) -> dict[str, Any]:
    """Forecast of a row, as it is stored."""
    import logging

    from mmengine.config import Config
    from mmengine.logging import MMLogger

    import mmseg_uda.register_all  # noqa: F401
    from mmseg_uda.benchmarks.forecast import GPUS, countable, forecast
    from mmseg_uda.benchmarks.step import scale_config

    MMLogger.get_instance("forecast", log_level=logging.ERROR)
    cfg, _ = countable(scale_config(Config(config), None, None))
    found = forecast(cfg, cfg.train_dataloader.batch_size)
    steps = cfg.train_cfg.max_iters
    return {
        "trained": found.trained,
        "flops": found.total_flops,
        "peak": found.peak,
        "images": cfg.train_dataloader.batch_size,
        "steps": steps,
        "hours": {name: round(found.seconds(gpu) * steps / 3600, 1) for name, gpu in GPUS.items()},
    }


HEAD = (
    "| table | row | parameters | images | memory | TFLOP per step | steps | hours, RTX 3090 "
    "| hours, A100 |\n|---|---|---|---|---|---|---|---|---|"
)


def line(table: str, label: str, config: dict[str, Any], cost: dict[str, Any]) -> str:
    """One line of the table."""
    mark = "".join(f" (without {lack})" for lack in uncounted(config))
    hours = cost["hours"]
    cells = (
        table,
        label + mark,
        f"{cost['trained'] / 1e6:.1f} M",
        f"{cost['images']}",
        f"{cost['peak'] / GIB:.1f} GiB",
        f"{cost['flops'] / 1e12:.1f}",
        f"{cost['steps']}",
        f"{hours['RTX 3090']:.0f}",
        f"{hours['A100 80GB']:.0f}",
    )
    return "| " + " | ".join(cells) + " |"
