from __future__ import annotations

from bench.doctor import CORPUS
from comfy.doctor.diagnose import diagnose
from farm.status.worker import FindingStatus
from worker.service.finding_counts import FindingCounts


def test_findings_are_counted_by_job_and_their_seconds_added() -> None:
    report = diagnose((CORPUS / "origin-450s.log").read_bytes())
    counts = FindingCounts()

    counts.add(report)
    counts.add(report)

    (cost,) = (each.cost for each in report.findings if each.id == "gguf-where-fp8-fits")
    assert cost is not None
    assert cost.seconds > 1
    assert counts.status()["gguf-where-fp8-fits"] == FindingStatus(jobs=2, seconds=2 * cost.seconds)
    assert counts.status()["base64-return"].jobs == 2
