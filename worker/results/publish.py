"""From files on this disk to a job's result in the storage: checked, uploaded, described; manifest last."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from comfy.doctor.clip import ClipLook
from farm.errors import BucketNotFound, FarmError, StorageDenied, StorageUnavailable, TransferStopped
from farm.job import Artifact, JobResult
from farm.storage import Storage, StoredFile, media_type_of, safe_name
from worker.errors import AttemptStopped, BrokenOutput
from worker.results.manifest_file import MANIFEST_NAME, manifest_json
from worker.results.media import Inspected, decode, inspect, look_at_sequences
from worker.results.metadata import Metadata, MetadataState, strip

log = logging.getLogger(__name__)

T = TypeVar("T")
BytesHook = Callable[[int, int], None]  # bytes sent, bytes in all; called from several threads

_POSTER_ENDING: Final = ".poster.jpg"
_FILES_AT_ONCE: Final = 4
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 15.0
_STOP_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOutput:
    """A file that a render has left on this machine's disk, whole and closed."""

    path: Path
    node_id: str  # the node that made it
    filename: str  # as ComfyUI named it


class Publisher:
    """Puts what attempts have made where people find it. One for each process; all jobs share its threads."""

    def __init__(
        self, storage: Storage, *, patience_s: float = 60.0, hurry: Callable[[], bool] = lambda: False
    ) -> None:
        """Start the threads.

        Args:
            patience_s: how long one file is tried again while the storage cannot be reached.
            hurry: whether to give up at the first failure instead: the GPU waits for a free thread, or the
                storage is known to be away.
        """
        self._storage = storage
        self._patience_s = patience_s
        self._hurry = hurry
        self._pool = ThreadPoolExecutor(max_workers=_FILES_AT_ONCE, thread_name_prefix="publish")
        # Their own, so that nobody waits there for a silent storage.
        self._lookers = ThreadPoolExecutor(max_workers=_FILES_AT_ONCE, thread_name_prefix="look")

    def publish(
        self,
        job_id: str,
        token: str,
        outputs: Sequence[LocalOutput],
        manifest: Mapping[str, Any],
        *,
        timings: Callable[[], Mapping[str, float]] = dict,
        keep_metadata: bool = False,
        stop: threading.Event | None = None,
        progress: BytesHook | None = None,
        saw: Callable[[ClipLook], None] = lambda _look: None,
    ) -> JobResult:
        """Store every output, a poster beside each video, and the manifest when all of them are there.

        Args:
            token: of the claim: what another one has stored is never touched.
            outputs: at least one.
            manifest: what is known of the run (`worker.results.manifest.manifest_of`); no secret. It is
                completed by artifacts and timings; what it says of ComfyUI and of the models goes into the
                result.
            timings: asked when all files are stored: the seconds for manifest and result.
            keep_metadata: leave the graph, with its prompt, in the files; else it is taken out of them
                first, here on this disk.
            stop: set by whoever wants it to end early.
            saw: told what was measured in each clip's frames, from several threads.

        Raises:
            BrokenOutput: an output is not what it claims; nothing of the attempt is left in the storage.
            AttemptStopped: `stop` was set; what is stored is left to `discard`, and requests that are still
                on their way are not waited for.
            StorageUnavailable: the storage did not take it, however often it was tried; the files are
                still on this disk.
        """
        prefix = self._storage.keys.attempt_prefix(job_id, token)
        keys = [prefix + name for name in key_names(outputs)]
        work = _Work(outputs, stop=stop, progress=progress, saw=saw)
        started = time.monotonic()
        try:
            looks = [self._lookers.submit(_looked_at, output.path, keep_metadata) for output in outputs]
            wait(looks)  # each changes its file: nobody may have it before that is over
            inspected = work.all(looks)
            checked = time.monotonic()
            artifacts = self._store(work, outputs, keys, inspected)
            spent_s = {"check": checked - started, "upload": time.monotonic() - checked, **timings()}
            self._store_manifest(work, prefix, manifest_json(manifest, artifacts, inspected, spent_s))
        except BrokenOutput:
            self.discard(job_id, token)
            raise
        except TransferStopped as exc:
            raise AttemptStopped(f"job {job_id} was stopped while publishing") from exc
        return JobResult(
            bucket=self._storage.bucket,
            artifacts=artifacts,
            manifest_key=prefix + MANIFEST_NAME,
            timings_s=spent_s,
            emulated=bool(manifest.get("worker", {}).get("emulated")),
            comfyui_version=manifest.get("worker", {}).get("comfyui_version"),
            model_bytes=dict(manifest.get("model_bytes", {})),
        )

    def discard(self, job_id: str, token: str) -> None:
        """Remove what the attempt of that claim has stored, as far as possible; never fails."""
        try:
            self._storage.delete_prefix(self._storage.keys.attempt_prefix(job_id, token))
        except FarmError as exc:
            # What stays costs room, not correctness: no result names it.
            log.warning(
                "The files of an attempt could not be removed from the storage",
                extra={"event": "discard_failed", "job_id": job_id, "token": token, "reason": str(exc)},
            )

    def close(self) -> None:
        """End the threads; those in the midst of a request end with it."""
        for pool in (self._lookers, self._pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def _store(
        self,
        work: _Work,
        outputs: Sequence[LocalOutput],
        keys: Sequence[str],
        inspected: Sequence[Inspected],
    ) -> tuple[Artifact, ...]:
        """Uploads and posters of all outputs at once: the upload does not wait for the decoder."""
        futures: list[Future[Any]] = []
        for output, key, facts in zip(outputs, keys, inspected, strict=True):
            futures.append(self._pool.submit(self._upload, work, output, key))
            futures.append(self._pool.submit(self._poster, work, output, key, facts))
        futures.append(self._pool.submit(self._sequences, work, outputs, inspected))
        *done, _ = work.all(futures)
        return tuple(
            Artifact(
                key=stored.key,
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
                media_type=media_type_of(stored.key),
                node_id=output.node_id,
                filename=output.filename,
                video=facts.video,
                poster_key=poster_key,
            )
            for output, facts, stored, poster_key in zip(
                outputs, inspected, done[::2], done[1::2], strict=True
            )
        )

    def _upload(self, work: _Work, output: LocalOutput, key: str) -> StoredFile:
        return self._patiently(
            work,
            lambda: self._storage.upload(
                output.path, key, media_type=media_type_of(key), progress=work.sent, stop=work.stopped
            ),
            key,
        )

    def _poster(self, work: _Work, output: LocalOutput, key: str, inspected: Inspected) -> str | None:
        decoded = decode(output.path, inspected)
        if decoded is None:
            return None
        work.saw(decoded.look)
        poster_key = key + _POSTER_ENDING
        self._patiently(
            work,
            lambda: self._storage.put_bytes(decoded.poster, poster_key, media_type="image/jpeg"),
            poster_key,
        )
        return poster_key

    def _sequences(self, work: _Work, outputs: Sequence[LocalOutput], inspected: Sequence[Inspected]) -> None:
        written = ((each.node_id, each.path, facts) for each, facts in zip(outputs, inspected, strict=True))
        for look in look_at_sequences(written):
            work.saw(look)

    def _store_manifest(self, work: _Work, prefix: str, body: bytes) -> None:
        key = prefix + MANIFEST_NAME
        self._patiently(work, lambda: self._storage.put_bytes(body, key, media_type="application/json"), key)

    def _patiently(self, work: _Work, store: Callable[[], T], key: str) -> T:
        """Try until it works, the time is up, or nobody wants it any more."""
        give_up_at = time.monotonic() + self._patience_s
        wait_s = _FIRST_WAIT_S
        while True:
            work.check(key)
            try:
                return store()
            except (BucketNotFound, StorageDenied):
                raise  # a person has to act; trying again only hides it
            except StorageUnavailable as exc:
                if self._hurry() or time.monotonic() + wait_s > give_up_at:
                    raise
                log.warning(
                    "The storage did not take a file; trying again",
                    extra={
                        "event": "upload_retry",
                        "key": key,
                        "wait_s": round(wait_s, 1),
                        "reason": str(exc),
                    },
                )
            pause_s = wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
            work.sleep(pause_s, unless=self._hurry)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


def _looked_at(path: Path, keep_metadata: bool) -> Inspected:
    """The facts of a file, from which the prompt is gone by then unless it is to be kept."""
    if keep_metadata:
        return replace(inspect(path), metadata=Metadata(state=MetadataState.KEPT))
    found = strip(path) if path.is_file() else None
    return replace(inspect(path), metadata=found)


class _Work:
    """One `publish` under way: who may stop it, how far it is, and its first error."""

    def __init__(
        self,
        outputs: Sequence[LocalOutput],
        *,
        stop: threading.Event | None,
        progress: BytesHook | None,
        saw: Callable[[ClipLook], None],
    ) -> None:
        self.saw = saw
        self._stop = stop
        self._progress = progress
        self._failed = threading.Event()
        self._lock = threading.Lock()
        self._sent = 0
        self._total = sum(output.path.stat().st_size for output in outputs if output.path.is_file())

    def stopped(self) -> bool:
        """Whether the rest of the work is in vain."""
        return self._failed.is_set() or (self._stop is not None and self._stop.is_set())

    def check(self, key: str) -> None:
        """Raises `TransferStopped` when it is."""
        if self.stopped():
            raise TransferStopped(key)

    def sleep(self, seconds: float, *, unless: Callable[[], bool]) -> None:
        """Wait, unless the work is stopped meanwhile, or that holds."""
        until = time.monotonic() + seconds
        while not self.stopped() and not unless() and (left := until - time.monotonic()) > 0:
            self._failed.wait(min(left, _STOP_POLL_S))

    def sent(self, count: int) -> None:
        """Note bytes that went out; fewer than none when a part is sent again."""
        with self._lock:
            self._sent += count
            sent = self._sent
        if self._progress is not None:
            self._progress(sent, self._total)

    def all(self, futures: Sequence[Future[T]]) -> list[T]:
        """The results of all; when one fails, the others are stopped and its error is raised.

        Raises:
            TransferStopped: nobody wants them any more; those that run end by themselves, in vain.
        """
        try:
            while wait(futures, timeout=_STOP_POLL_S, return_when="FIRST_EXCEPTION").not_done:
                if self._stop is not None and self._stop.is_set():
                    raise TransferStopped("what an attempt has made")
                if any(_error_of(future) for future in futures):
                    break
        finally:
            if any(not future.done() or _error_of(future) for future in futures):
                self._failed.set()
                for future in futures:
                    future.cancel()
        wait(futures)
        errors = [error for future in futures if (error := _error_of(future))]
        # The others were stopped because of the first one, which is not always the first in line.
        for error in sorted(errors, key=lambda error: isinstance(error, TransferStopped)):
            raise error
        return [future.result() for future in futures]


def _error_of(future: Future[Any]) -> BaseException | None:
    return future.exception() if future.done() and not future.cancelled() else None


def key_names(outputs: Sequence[LocalOutput]) -> list[str]:
    """A name for each output, all different, also from their posters' and the manifest's."""
    taken = {MANIFEST_NAME}
    names = []
    for output in outputs:
        plain = safe_name(output.filename)
        tries = [plain, safe_name(f"{output.node_id}-{plain}")]
        tries += [safe_name(f"{number}-{plain}") for number in range(1, len(outputs) + 2)]
        name = next(name for name in tries if name not in taken and name + _POSTER_ENDING not in taken)
        taken |= {name, name + _POSTER_ENDING}
        names.append(name)
    return names
