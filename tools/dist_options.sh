# Sourced by dist_train.sh and dist_test.sh: torchrun's options for the machines that take part.
if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
    MACHINES=(--standalone) # any free port, so that several trainings fit on one machine
else
    MACHINES=(--nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}"
        --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}")
fi
