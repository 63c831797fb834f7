#!/bin/sh
# Runs the worker of one GPU (`work`), says whether it is well (`health`), or runs what it is given.
set -eu

export FARM_WORKER_NAME="${FARM_WORKER_NAME:-worker@$(hostname)}"

case "${1:-work}" in
    work)
        # Keeps host memory from growing with each change of models; nothing depends on it.
        tcmalloc=$(ldconfig -p | awk '/libtcmalloc_minimal\.so\.4/ { print $NF; exit }')
        if [ -n "$tcmalloc" ]; then
            export LD_PRELOAD="$tcmalloc"
        fi
        exec celery -A worker.app worker --hostname "$FARM_WORKER_NAME" --without-gossip --without-mingle
        ;;
    health)
        exec python -m farm.check.health worker "$FARM_WORKER_NAME"
        ;;
    *)
        exec "$@"
        ;;
esac
