#!/bin/sh
# The command of DAFormer, HRDA, MIC, CSI and CDDA: sh test.sh RUN_DIR [options of tools/test.py]
# evaluates the newest checkpoint of a training's folder and writes trainIds into RUN_DIR/preds.
if [ ! -d "${1:-}" ]; then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
RUN=$1
shift
exec "${PYTHON:-python}" "$(dirname "$0")/tools/test.py" "$RUN" --out "${RUN%/}/preds" "$@"
