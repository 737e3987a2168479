"""Train a config: python tools/train.py CONFIG [--resume].

On several GPUs: tools/dist_train.sh CONFIG GPUS [options], or
torchrun --nproc_per_node GPUS tools/train.py CONFIG --launcher pytorch [options].
"""

from __future__ import annotations

import argparse

from mmseg_uda.cli import Parser, add_config_options, apply_environment, run_name
from mmseg_uda.errors import UserError
from mmseg_uda.loggers import add_log_option, add_loggers, require_loggers
from mmseg_uda.places import require_folder


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description="Train a config.")
    parser.add_argument("config", help="config file with 'model' and 'uda'")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the newest checkpoint in the work dir; learning rate, schedule and "
        "length are those of the config",
    )
    parser.add_argument(
        "--allow-changes",
        action="store_true",
        help="--resume even if data, method, batch, seed, precision or number of processes have "
        "changed since the checkpoint",
    )
    parser.add_argument("--amp", choices=["bf16", "fp16"], help="mixed precision (default: fp32)")
    parser.add_argument("--seed", type=int, help="replaces the config's seed")
    add_log_option(parser)
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    """Trains."""
    args = parse_args()
    apply_environment(args)
    require_loggers(args.log)

    from mmseg_uda.engine.config_file import load_config
    from mmseg_uda.engine.processes import (
        check_launcher,
        from_main_process,
        join_processes,
        leave_processes,
    )
    from mmseg_uda.engine.runner import build_runner, configure_threads, wrap_model
    from mmseg_uda.engine.start import begin_training
    from mmseg_uda.experiments import preflight

    check_launcher(args.launcher)

    cfg = load_config(args.config, args.cfg_options)
    if "model" not in cfg:
        raise UserError(
            f"{args.config} has no 'model' to train.",
            fix="Configs with 'alignment' are run by tools/align.py.",
        )
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{run_name(args.config)}"
    cfg.launcher = args.launcher
    cfg.resume = args.resume or cfg.get("resume", False)
    if args.allow_changes and not cfg.resume:
        raise UserError("--allow-changes has no effect without --resume.", fix="Add --resume.")
    if args.amp:
        cfg.optim_wrapper.amp = args.amp
    if args.seed is not None:
        cfg.randomness = {**cfg.get("randomness", {}), "seed": args.seed}
    # Before mmengine prints the config: who has no data wants to read that alone.
    hint = "Correct the paths in the config, or give --data-root DIR, if all sets are elsewhere."
    preflight.require([cfg], hint, weights=False)
    require_folder(cfg.work_dir)
    configure_threads()
    if args.launcher != "none":
        join_processes(args.launcher, (cfg.get("env_cfg") or {}).get("dist_cfg") or {})
    told = from_main_process(lambda: preflight.inspect([cfg]))
    from_main_process(lambda: preflight.require_weights(cfg))
    with begin_training(wrap_model(cfg), args.allow_changes) as start:
        add_loggers(cfg, args.log)
        runner = build_runner(cfg, start)
        for finding in told:
            runner.logger.warning(str(finding))
        runner.train()
    leave_processes()
