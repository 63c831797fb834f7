"""Which jobs are meant: by id, state, label, time, values and words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from comfy.graphs.graph import Graph
from comfy.graphs.links import inputs_of
from farm.arguments import checks_arguments
from farm.asking.graphs import roles_of
from farm.job import JobRecord, JobState
from farm.storage.downloads import seed_of
from farm.store.base import IdPage
from farm.store.roles import JobReader

_FIRST_PAGE: Final = 50  # records in the first round trip, twice as many in each that follows, up to
_PAGE: Final = 500
_IDS: Final = 5000  # in one round trip
_OF_RECORD: Final = ("worker", "queue", "attempt")
_OF_SPEC: Final = ("template", "priority", "title")


@checks_arguments
@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Jobs for which all that is given holds; nothing given is every job."""

    ids: Sequence[str] = ()
    state: JobState | None = None
    label: str | None = None
    since: datetime | None = None  # submitted then or later
    until: datetime | None = None  # submitted before
    # Name -> value: of a parameter, a role ("seed", "prompt") or an input ("6.text"); or of what the record
    # says: "worker", "queue", "attempt", "template", "priority", "title".
    where: Mapping[str, Any] = field(default_factory=dict)
    search: str = ""  # words that stand in the title, a label or a text of the graph, whatever their case

    @property
    def hints(self) -> list[str]:
        """What certainly stands in the stored form of each job that is meant, in lower case.

        A search looks through thousands of jobs for each that it finds; those without are not read at all.
        """
        # As a file has them; smaller numbers stand everywhere, and 1 may be written true.
        numbers = [str(value) for value in self.where.values() if isinstance(value, int) and value > 9]
        words = [*self.search.casefold().split(), *numbers]
        return [word for word in words if word.isprintable() and not set(word) & set('"\\')]

    def holds(self, job: JobRecord) -> bool:
        """Whether a job is meant; its id is not looked at."""
        return (
            self.state in (None, job.state)
            and (self.label is None or self.label in job.spec.labels)
            and (self.since is None or job.submitted_at >= self.since)
            and (self.until is None or job.submitted_at < self.until)
            and all(
                any(_equal(found, value) for found in values_of(job, name))
                for name, value in self.where.items()
            )
            and _has_words(job, self.search.casefold().split())
        )


def select(store: JobReader, wanted: Selection) -> Iterator[JobRecord]:
    """The jobs that are meant: those named, in their order, else newest first, page by page.

    Raises:
        JobNotFound: there is no job of an id.
    """
    for some in looks(store, wanted):
        yield from some.jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one round trip of a search has found, if anything."""

    jobs: Sequence[JobRecord]
    back_to: datetime | None  # jobs submitted before have not been looked at; None: all have been


def looks(store: JobReader, wanted: Selection, *, skip: int = 0) -> Iterator[Look]:
    """As `select`, for who wants to stop a search that finds too little.

    Args:
        skip: so many of the first jobs are left out.
    """
    if wanted.ids:
        named = (job for job_id in dict.fromkeys(wanted.ids) if wanted.holds(job := store.get(job_id)))
        yield Look(jobs=tuple(islice(named, skip, None)), back_to=None)
        return
    cursor: str | None = None
    while skip and not (wanted.where or wanted.search):  # these need not be read to be counted
        ids = _ids(store, wanted, cursor, limit=min(skip, _IDS))
        skip, cursor = skip - len(ids.ids), ids.next_cursor
        if cursor is None:
            return
    limit = _FIRST_PAGE
    while True:
        page = store.find(
            state=wanted.state,
            label=wanted.label,
            since=wanted.since,
            until=wanted.until,
            limit=limit,
            cursor=cursor,
            hints=wanted.hints,
        )
        found = [job for job in page.jobs if wanted.holds(job)]
        cursor, limit = page.next_cursor, min(2 * limit, _PAGE)
        back_to = page.jobs[-1].submitted_at if cursor is not None and page.jobs else None
        yield Look(jobs=found[skip:], back_to=back_to)
        skip = max(skip - len(found), 0)
        if cursor is None:
            return


def select_ids(store: JobReader, wanted: Selection) -> Iterator[str]:
    """As `select`, of ids alone: a hundred thousand in seconds where no value and no word is asked for.

    Raises:
        JobNotFound: there is no job of an id, and more is asked of it.
    """
    if wanted == Selection(ids=wanted.ids) and wanted.ids:
        yield from dict.fromkeys(wanted.ids)
        return
    if wanted.ids or wanted.where or wanted.search:
        yield from (job.job_id for job in select(store, wanted))
        return
    cursor: str | None = None
    while True:
        page = _ids(store, wanted, cursor)
        yield from page.ids
        cursor = page.next_cursor
        if cursor is None:
            return


def _ids(store: JobReader, wanted: Selection, cursor: str | None, limit: int = _IDS) -> IdPage:
    return store.find_ids(
        state=wanted.state,
        label=wanted.label,
        since=wanted.since,
        until=wanted.until,
        limit=limit,
        cursor=cursor,
    )


def values_of(job: JobRecord, name: str) -> Iterable[Any]:
    """What a job has under a name: as it was given, else as it stands in the graph."""
    spec = job.spec
    if name in _OF_RECORD:
        return [getattr(job, name)]
    if name in _OF_SPEC:
        return [getattr(spec, name)]
    given = {**spec.parameters, **spec.template_parameters}
    if name in given:
        return [given[name]]
    return [seed_of(spec)] if name == "seed" else _in_graph(spec.graph, name)


def _in_graph(graph: Graph, name: str) -> list[Any]:
    node_id, _, input_name = name.rpartition(".")
    nodes = [node_id] if node_id else graph
    found = [inputs_of(graph, each).get(input_name) for each in nodes]
    # What it is for tells it where no input is called so.
    return [value for value in found if value is not None] or [
        each.value for each in roles_of(graph).of(name) if not each.is_computed
    ]


def _equal(found: Any, wanted: Any) -> bool:
    """Whether a value is the one that is meant; numbers may come as text."""
    if found == wanted or str(found) == str(wanted):
        return True
    try:
        return float(found) == float(wanted)
    except (TypeError, ValueError):
        return False


def _has_words(job: JobRecord, words: Sequence[str]) -> bool:
    if not words:
        return True
    spec = job.spec
    texts = [spec.title, *spec.labels]
    texts += [
        value
        for each in spec.graph
        for value in inputs_of(spec.graph, each).values()
        if isinstance(value, str)
    ]
    all_of_it = "\n".join(texts).casefold()
    return all(word in all_of_it for word in words)
