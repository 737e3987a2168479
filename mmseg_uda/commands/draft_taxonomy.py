"""Drafts a map between two taxonomies with a language model of your choice; nothing is sent.

python tools/draft_taxonomy.py candidates cityscapes19 mapillary66 > prompt.txt
python tools/draft_taxonomy.py contexts mapillary66 > prompt.txt
python tools/draft_taxonomy.py import cityscapes19 idd26 --candidates answer.json --out map.yaml

The first two print a prompt. The third checks the answers, saved as files, and writes the map.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmseg_uda.cli import Parser
from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import (
    candidates_prompt,
    contexts_prompt,
    import_answers,
    load_taxonomy,
)

TAXONOMY = "name or YAML file of a taxonomy"


def main() -> None:
    """Prints a prompt, or writes a map."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    candidates = commands.add_parser("candidates", help="prompt: what each source class can become")
    candidates.add_argument("source", help=f"of the network: {TAXONOMY}")
    candidates.add_argument("target", help=f"wanted: {TAXONOMY}")
    candidates.add_argument("--scene", default="street scenes", help="what the images show")

    contexts = commands.add_parser("contexts", help="prompt: phrases for each target class")
    contexts.add_argument("target", help=f"wanted: {TAXONOMY}")
    contexts.add_argument("--scene", default="street scenes", help="what the images show")
    contexts.add_argument("--classes", nargs="+", metavar="NAME", help="only these")

    answers = commands.add_parser("import", help="checks answers and writes the map")
    answers.add_argument("source", help=f"of the network: {TAXONOMY}")
    answers.add_argument("target", help=f"wanted: {TAXONOMY}")
    answers.add_argument("--candidates", type=Path, required=True, metavar="FILE", help="answer")
    answers.add_argument("--contexts", type=Path, metavar="FILE", help="answer; else class names")
    answers.add_argument("--out", type=Path, required=True, metavar="FILE", help="YAML to write")
    args = parser.parse_args()

    if args.command == "candidates":
        print(candidates_prompt(args.source, args.target, args.scene))
    elif args.command == "contexts":
        known = load_taxonomy(args.target).classes
        unknown = [name for name in args.classes or () if name not in known]
        if unknown:
            raise UserError(
                f"{args.target} has no class {', '.join(map(repr, unknown))}.",
                fix=f"Its classes: {', '.join(known)}.",
            )
        print(contexts_prompt(args.classes or known, args.scene))
    else:
        drafted, doubts = import_answers(
            args.candidates, args.contexts, args.source, args.target, args.out
        )
        for doubt in doubts:
            print(f"To check: {doubt}", file=sys.stderr)
        print(f"{args.out}: {len(drafted.candidates)} source classes, {len(drafted.names)} names")
