#!/bin/sh
# Runs Flower (`flower`, with FLOWER_BASIC_AUTH set), or the `farm` command with the arguments given.
set -eu

if [ "${1:-}" != flower ]; then
    exec farm "$@"
fi
# Its interface can run any registered task: without a password it is a door to the GPU nodes.
: "${FLOWER_BASIC_AUTH:?set it to user:password}"
exec celery -A farm.broker flower --address=0.0.0.0 --port=5555 --read_only=True \
    --tasks_columns=args,state,result,runtime,received,worker,uuid \
    --task_runtime_metric_buckets=1,5,15,30,60,120,300,600,1200,1800,3600
