"""From requests to stored jobs: checked against the fleet, their input files stored, queued in batches."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from comfy.node_defs.definitions import Definitions
from farm.arguments import checks_arguments
from farm.asking.admission import check_classes
from farm.asking.building import InputSource
from farm.asking.content import content_of
from farm.asking.editor_file import is_from_editor
from farm.asking.graphs import Knowledge
from farm.asking.prepare import Prepared, local_file, prepare_with_files
from farm.asking.request import JobRequest
from farm.errors import InvalidJob, Problem, Unplaceable
from farm.fleet.preflight import Preflight
from farm.fleet.reuse import reusable
from farm.job import JobSpec, new_job_id, queue_for
from farm.storage import Storage
from farm.store.base import NewJob
from farm.store.roles import SubmitterStore

_LONGEST_REASON: Final = 1000
_MOST_PROBLEMS: Final = 20  # of one refused batch: nobody reads more


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A job that may be queued."""

    spec: JobSpec
    inputs: Mapping[str, InputSource]  # "node.input" -> file, as it was given
    workers: int  # how many live workers would take it; 0: none could be asked, or it is parked
    parked: str | None = None  # why no live worker fits
    notes: tuple[str, ...] = ()  # what was taken otherwise than it was given, in words


@checks_arguments  # of a batch, each request for itself
class Submission:
    """Checks requests and stores what may be queued; threads may share one. `Farm` tells what it raises."""

    def __init__(
        self, store: SubmitterStore, storage: Storage, preflight: Preflight, *, allowed_nodes: str
    ) -> None:
        self._store = store
        self._storage = storage
        self._preflight = preflight
        self._allowed_nodes = allowed_nodes

    def checked(self, request: JobRequest) -> Checked:
        """The job as it would be stored, and what the live workers say of it.

        Where workers have other forms of a node class, an editor's file is read as each of them would, until
        one takes the job.
        """
        refusals: list[InvalidJob] = []
        unplaceable: tuple[Unplaceable, Prepared] | None = None
        for known in self._readings(request):
            try:
                prepared = prepare_with_files(request, known)
                check_classes(prepared.spec.requirements.node_classes, self._allowed_nodes)
                accepting = self._preflight.check(prepared.spec)
            except Unplaceable as exc:
                unplaceable = unplaceable or (exc, prepared)
            except InvalidJob as exc:
                refusals.append(exc)
            else:
                return _checked(prepared, workers=accepting)
        if unplaceable is None:
            raise refusals[0]
        reason, prepared = unplaceable
        if request.options.get("if_unplaceable") != "park":
            raise reason
        return _checked(prepared, workers=0, parked=reason.reason[:_LONGEST_REASON])

    def store(self, checked: Sequence[Checked]) -> list[str]:
        """Queue the jobs in one round trip; their ids."""
        # Inputs are stored only now: a batch that is refused leaves nothing behind in S3.
        whole = [self._with_sources(each) for each in checked]
        contents = [content_of(spec) if spec.reuse else None for spec in whole]
        results = reusable(
            self._store, self._storage, [content for content in contents if content is not None]
        )
        new = [
            NewJob(
                job_id=new_job_id(),
                spec=spec,
                queue=queue_for(spec.requirements.vram_gib),
                parked=each.parked,
                content=content,
                reuses=results.get(content) if content is not None else None,
            )
            for each, spec, content in zip(checked, whole, contents, strict=True)
        ]
        return [done.job_id for done in self._store.submit(new)]

    def store_many(self, requests: Iterable[JobRequest], *, batch: int) -> list[str]:
        """Check and queue batch by batch; the ids of the jobs, in order."""
        job_ids: list[str] = []
        numbered = enumerate(requests)
        # One batch is on its way to Redis while the next one is checked.
        with ThreadPoolExecutor(1, thread_name_prefix="submit") as sender:
            sent: Future[list[str]] | None = None
            while chunk := list(islice(numbered, max(batch, 1))):
                try:
                    checked = self._checked_all(chunk)
                finally:
                    # Its failure came first, so it is the one to tell.
                    job_ids += sent.result() if sent else []
                sent = sender.submit(self.store, checked)
            job_ids += sent.result() if sent else []
        return job_ids

    def _readings(self, request: JobRequest) -> Sequence[Knowledge]:
        """What may be known of nodes, one after the other, while none of it makes a job that fits."""
        if not is_from_editor(request.graph):
            return [self._preflight.definitions]
        return [functools.partial(_itself, form) for form in self._preflight.forms()]

    def _checked_all(self, chunk: Sequence[tuple[int, JobRequest]]) -> list[Checked]:
        specs: list[Checked] = []
        problems: list[Problem] = []
        for index, request in chunk:
            try:
                specs.append(self.checked(request))
            except InvalidJob as exc:
                problems += [_at(index, problem) for problem in exc.problems]
            if len(problems) >= _MOST_PROBLEMS:
                break
        if problems:
            raise InvalidJob(problems[:_MOST_PROBLEMS])
        return specs

    def _with_sources(self, job: Checked) -> JobSpec:
        if not job.inputs:
            return job.spec
        return replace(job.spec, inputs={path: self._source(given) for path, given in job.inputs.items()})

    def _source(self, given: InputSource) -> str:
        """The address under which a worker finds an input."""
        file = local_file(given)
        return str(given) if file is None else self._storage.upload_input(file)


def _at(index: int, problem: Problem) -> Problem:
    return replace(problem, field=f"request {index}: {problem.field}")


def _itself(known: Definitions) -> Definitions:
    return known


def _checked(prepared: Prepared, *, workers: int, parked: str | None = None) -> Checked:
    return Checked(
        spec=prepared.spec, inputs=prepared.inputs, workers=workers, parked=parked, notes=prepared.notes
    )
