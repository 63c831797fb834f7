"""A log that holds the lines of several servers, as `docker compose logs` gives them: each read by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from comfy.doctor.record import Reader, Record
from comfy.doctor.report import Finding, Question, Report, Server, Severity
from comfy.log.entry import LogEntry
from comfy.log.facts import PromptDoneFact
from comfy.log.stream import LogStream

_MOST_SOURCES: Final = 16  # what names more than these names no servers
_WORST_FIRST: Final = list(Severity)


def read_records(log: LogStream, *, of_one: bool = False) -> list[Record]:
    """Read a log to its end: one record for each server that it holds, the first to be seen first.

    Lines of those that are no servers, and lines of nobody, count where only one server is in it.

    Args:
        of_one: whose log it is is known, so that whatever stands before its lines names no other server.
    """
    whole, apart = Reader(), _Apart()
    log.on_sourced = None if of_one else apart.take
    whole.read(log)
    records = apart.servers(log.done) or [whole.record]
    for record in records:
        record.lines, record.known, record.stamped = log.lines, log.known, log.stamped
    if len(records) > 1:
        _number(records)
    return records


class _Apart:
    """Reads the lines of each who has a name in the log."""

    def __init__(self) -> None:
        self._readers: dict[bytes, Reader] = {}
        self._done = 0

    def take(self, entry: LogEntry) -> None:
        reader = self._readers.get(entry.source)
        if reader is None:
            if len(self._readers) > _MOST_SOURCES:
                return
            reader = self._readers[entry.source] = Reader()
        reader.take(entry)
        self._done += entry.kind is PromptDoneFact

    def servers(self, done: int) -> list[Record]:
        """Those of servers, if they are several and no prompt is of anybody else.

        Args:
            done: how many prompts the whole log has.
        """
        if not 1 < len(self._readers) <= _MOST_SOURCES or self._done < done:
            return []
        found = []
        for source, reader in self._readers.items():
            reader.end()
            if _is_server(reader.record):
                reader.record.source = source.decode("utf-8", "replace")
                found.append(reader.record)
        return found if len(found) > 1 else []


def _is_server(record: Record) -> bool:
    return record.starts > 0 or any(run.queued or run.done for run in record.runs)


def _number(records: list[Record]) -> None:
    """Number their prompts in the order in which these began."""
    runs = [run for record in records for run in record.runs]
    left_out = sum(record.all_runs for record in records) - len(runs)
    for number, run in enumerate(sorted(runs, key=lambda run: run.first_line), left_out + 1):
        run.number = number


def together(reports: Sequence[Report]) -> Report:
    """One report of several servers: each prompt and finding with its server's name."""
    if len(reports) == 1:
        return reports[0]
    names = [report.server.source for report in reports]
    found = [_named(finding, report) for report in reports for finding in report.findings]
    one_alone = Question(
        what=f"what is of which server, beyond what is said here: the log holds {len(names)} of them "
        f"({', '.join(names)})",
        decides="the log of one server at a time: `docker compose logs SERVICE`, `kubectl logs POD`",
    )
    return Report(
        server=_alike([report.server for report in reports], ", ".join(names)),
        prompts=tuple(sorted((each for one in reports for each in one.prompts), key=lambda it: it.number)),
        prompts_left_out=sum(report.prompts_left_out for report in reports),
        findings=by_seconds_lost(dict.fromkeys(found)),
        folklore=tuple({each.id: each for report in reports for each in report.folklore}.values()),
        questions=(*dict.fromkeys(each for report in reports for each in report.questions), one_alone),
        levers=tuple(dict.fromkeys(each for report in reports for each in report.levers)),
        log=replace(reports[0].log, unknown=tuple(line for one in reports for line in one.log.unknown)),
    )


def by_seconds_lost(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, those first that cost most; of those that cost nothing the worst."""
    return tuple(
        sorted(
            findings,
            key=lambda each: (-(each.cost.seconds if each.cost else 0.0), _WORST_FIRST.index(each.severity)),
        )
    )


def _named(finding: Finding, report: Report) -> Finding:
    """A prompt has its server's name; what is of none says it."""
    return (
        finding
        if finding.prompt is not None
        else replace(finding, message=f"{report.server.source}: {finding.message}")
    )


def _alike(servers: Sequence[Server], names: str) -> Server:
    """What is true of each of them."""
    first, *others = (asdict(server) for server in servers)
    same: dict[str, Any] = {
        name: value for name, value in first.items() if all(other[name] == value for other in others)
    }
    return Server(**{**same, "starts": sum(server.starts for server in servers), "source": names})
