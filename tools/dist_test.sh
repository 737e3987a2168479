#!/usr/bin/env bash
# Evaluate a checkpoint with several processes, one per GPU:
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# On several machines, set NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR and PORT on each of them.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
TOOLS=$(dirname "$0")
. "$TOOLS/dist_options.sh"
exec "${PYTHON:-python}" "$TOOLS/dist_run.py" "${MACHINES[@]}" --nproc_per_node "$3" \
    "$TOOLS/test.py" "$1" "$2" --launcher pytorch "${@:4}"
