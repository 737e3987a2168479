#!/usr/bin/env bash
# Train a config with several processes, one per GPU:
#   tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# On several machines, set NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR and PORT on each of them.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
TOOLS=$(dirname "$0")
. "$TOOLS/dist_options.sh"
exec "${PYTHON:-python}" "$TOOLS/dist_run.py" "${MACHINES[@]}" --nproc_per_node "$2" \
    "$TOOLS/train.py" "$1" --launcher pytorch "${@:3}"
