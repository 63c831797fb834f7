"""``docs/metrics.md``, made from the tables of metrics."""

from __future__ import annotations

from typing import Final

from farm.fleet.metrics import ENDED, ENDED_MEANING, FARM, SPENT, SPENT_MEANING, UP, UP_MEANING, WORKERS

_INTRODUCTION: Final = """\
# Metrics

Made from the code by `make docs`; do not edit.

`farm metrics` is a Prometheus exporter for the whole fleet: run one, anywhere that reaches Redis. It reads
the store for each scrape, so it holds nothing and may be restarted at will; workers need no open port. It
listens on `127.0.0.1:9640` unless `--host` and `--port` say otherwise, without a password: let nobody reach
it who may not know the names of workers. `farm metrics --once` prints one scrape. It needs
the extra `metrics`.

```yaml
scrape_configs:
  - job_name: wan-farm
    static_configs: [{targets: ["127.0.0.1:9640"]}]
```
"""
_ALERTS: Final = """
## Worth an alert

| expression | it means |
| --- | --- |
| `farm_redis_up == 0` | the store does not answer: nothing is claimed, running jobs go on |
| `sum(rate(farm_jobs_ended_total{state="failed"}[1h])) > 0.01` | jobs fail; `code` says of what |
| `farm_leases_overdue > 0` for a minute | no steward runs: lost jobs stay lost |
| `max by (queue) (farm_oldest_wait_seconds) > 3600` | a class has too few workers, or none |
| `farm_worker_proof{verdict="differs"} == 1` | a ComfyUI runs in another mode than planned: likely slow |
| `farm_worker_proof{verdict="unproven"} == 1` | its log is not understood: the mode may be any |
| `farm_worker_quarantined == 1` | a machine fails; the worker probes itself and comes back when it is well |
| `farm_worker_fetching == 0` for ten minutes | a worker that does nothing: `farm workers NAME` says why |
"""


def page() -> str:
    """The page as text."""
    farm = [_row(metric.name, metric.labels, metric.meaning) for metric in FARM]
    workers = [_row(metric.name, metric.labels, metric.meaning) for metric in WORKERS]
    head = ["", "| metric | labels | meaning |", "| --- | --- | --- |"]
    return (
        "\n".join(
            [
                _INTRODUCTION,
                "## Jobs and queues",
                *head,
                _row(UP, (), UP_MEANING),
                *farm,
                _row(ENDED, ("state", "code"), ENDED_MEANING),
                _row(SPENT, ("phase",), SPENT_MEANING),
                "",
                "## Workers",
                "",
                "Each has the label `worker`, its name in `farm workers` and in Flower. A worker that ended",
                "in good order is gone at once, one that died after 15 s.",
                *head,
                *workers,
                _ALERTS,
            ]
        ).rstrip("\n")
        + "\n"
    )


def _row(name: str, labels: tuple[str, ...], meaning: str) -> str:
    return f"| `{name}` | {', '.join(f'`{label}`' for label in labels) or '–'} | {meaning} |"
