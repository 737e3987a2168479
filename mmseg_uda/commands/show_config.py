"""Print a config value by value, with the file that says each, or compare two configs.

    python tools/show_config.py mic/gtaHR2csHR_mic_hrda
    python tools/show_config.py mic/gtaHR2csHR_mic_hrda --key uda.masking
    python tools/show_config.py mic/gtaHR2csHR_mic_hrda --diff hrda/gtaHR2csHR_hrda

Defaults of the trainer and its components are marked as such; they are no difference.
"""

from __future__ import annotations

import argparse

from mmseg_uda.cli import Parser


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", help="config file, with or without .py, also below configs/")
    parser.add_argument("--diff", metavar="OTHER", help="print what OTHER has instead (-, +)")
    parser.add_argument("--key", default="", help="only what lies at or below it: uda.masking")
    return parser.parse_args()


def main() -> None:
    """Prints the config or the comparison."""
    args = parse_args()
    from mmseg_uda.apis.config_view import explain_config

    for line in explain_config(args.config, args.key, args.diff):
        print(line)
