"""Names for downloaded files: told apart by themselves, and nothing that is there already is overwritten."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from comfy.graphs.links import inputs_of
from farm.errors import ObjectDamaged, SettingsError, StorageUnavailable
from farm.job import Artifact, EventKind, JobEvent, JobRecord, JobSpec
from farm.storage import Storage
from farm.storage.base import ProgressHook, sha256_of

DEFAULT_NAME: Final = "{title}-{seed}-{job}"
_JOB_LENGTH: Final = 12  # as lists show it
_MOST_BYTES: Final = 80  # of one field
_LONGEST: Final = 200  # bytes of a name, without its number and ending: file systems take 255
_SEED_INPUTS: Final = ("seed", "noise_seed")
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_PICTURES: Final = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
_TIMES_SILENT: Final = 3  # a connection that gave nothing, one after the other
_PAUSE_S: Final = 0.25  # before the next one; doubles while nothing comes
_FIELD: Final = re.compile(r"\{(\w*)\}")


class Extra(StrEnum):
    """What may be fetched beside a job's files."""

    POSTER = "poster"  # a still of each video
    MANIFEST = "manifest"  # how the files were made
    PREVIEWS = "previews"  # of the render, while the job's events have them and if its worker sends any


def download_all(
    record: JobRecord,
    storage: Storage,
    folder: Path,
    *,
    name: str = DEFAULT_NAME,
    extras: Collection[str] = (),
    events: Callable[[], Iterable[JobEvent]] = tuple,
    progress: ProgressHook = lambda _: None,
) -> list[Path]:
    """Every file of a succeeded job, put into `folder`; returns the paths, in the order of its artifacts, and
    behind them those of `extras`.

    A file that is there with the same content is kept and not fetched again; beside one with another content
    the new one gets a number. What breaks off is gone on with: by itself, and by the next call.

    Args:
        name: of the files, without their ending: text with `{title}`, `{seed}`, `{job}`, `{node}` (that
            made the file), `{file}` (as ComfyUI named it), `{number}` (from 1), or a parameter of the
            job's template.
        extras: of `Extra`.
        events: of the job, for its previews.
        progress: told the bytes of artifacts as they come, those that were there before among them.

    Raises:
        SettingsError: `name` has a field that this job does not, or there is no such extra; or there can be
            no such folder.
        StorageUnavailable: S3 does not give a file; what had come of it stays, under a name with a dot.
        ObjectDamaged: a file is not what its job made.
    """
    if unknown := sorted(set(extras) - set(Extra)):
        raise SettingsError(f"there is no {unknown[0]!r} beside a job's files; there are {', '.join(Extra)}")
    artifacts = record.result.artifacts if record.result is not None else ()
    names = [_stem(record, artifact, number, name) for number, artifact in enumerate(artifacts, start=1)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"{folder} cannot be a folder for files: {exc.strerror}") from exc
    paths: list[Path] = []
    for artifact, stem in zip(artifacts, names, strict=True):
        paths.append(_fetched(storage, folder, stem, artifact, taken=paths, progress=progress))
    for file_name, data in _extras(record, storage, names, extras, events):
        paths.append(_written(folder, file_name, data, taken=paths))
    return paths


def file_name(record: JobRecord, artifact: Artifact, number: int) -> str:
    """What a job's file, the one of that number from 1, is called where nobody has said how."""
    return _stem(record, artifact, number, DEFAULT_NAME) + _suffix(artifact.key)


def seed_of(spec: JobSpec) -> int | None:
    """The seed that the clip was made from, if there is one."""
    of_template = spec.template_parameters.get("seed")
    set_by_job = {input_path.rpartition(".")[2]: value for input_path, value in spec.parameters.items()}
    in_graph = (
        inputs.get(name)
        for inputs in (inputs_of(spec.graph, node_id) for node_id in spec.graph)
        # The second of two stages has a seed too, and does not use it.
        if inputs.get("add_noise", "enable") == "enable"
        for name in _SEED_INPUTS
    )
    found = (of_template, *(set_by_job.get(name) for name in _SEED_INPUTS), *in_graph)
    return next((value for value in found if isinstance(value, int)), None)


def _stem(record: JobRecord, artifact: Artifact, number: int, template: str) -> str:
    values: Mapping[str, Any] = {
        **record.spec.template_parameters,
        "title": _beginning(record.spec.title, seed_of(record.spec)),
        "seed": seed_of(record.spec),
        "job": record.job_id[:_JOB_LENGTH],
        "node": artifact.node_id,
        "file": Path(artifact.filename or artifact.key).stem,
        "number": number,
    }
    for field in _FIELD.findall(template):
        if field not in values:
            raise SettingsError(f"a file's name has no {{{field}}}; it has {', '.join(sorted(values))}")

    def value(found: re.Match[str]) -> str:
        text = "" if values[found[1]] is None else str(values[found[1]])
        return text.encode()[:_MOST_BYTES].decode(errors="ignore")

    stem = _plain(_FIELD.sub(value, template)) or record.job_id[:_JOB_LENGTH]
    return stem.encode()[:_LONGEST].decode(errors="ignore")


def _beginning(title: str, seed: int | None) -> str:
    """What a title says first: what follows in one of ours is in other fields, or in the file itself."""
    parts = [part for part in title.split(" · ") if part != f"seed {seed}"]
    return parts[0] if parts else title


def _plain(text: str) -> str:
    """A text as a file's name on any system: letters of any script stay, what is empty leaves no gap."""
    words = re.sub(r"[^\w.+-]+", "_", text.replace("×", "x"))
    return re.sub(r"-{2,}", "-", words).strip("._-")


def _suffix(key: str) -> str:
    """The ending of a stored file's name, if it is one of those that files have."""
    found = _SUFFIX.search(key)
    return found[0] if found is not None else ""


def _extras(
    record: JobRecord,
    storage: Storage,
    names: Sequence[str],
    wanted: Collection[str],
    events: Callable[[], Iterable[JobEvent]],
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each small thing beside the files."""
    if record.result is None:
        return
    if Extra.POSTER in wanted:
        for artifact, stem in zip(record.result.artifacts, names, strict=True):
            if (key := artifact.poster_key) is not None:
                yield f"{stem}.poster{_suffix(key)}", storage.read_bytes(key)
    if Extra.MANIFEST in wanted:
        yield f"{names[0]}.manifest.json", storage.read_bytes(record.result.manifest_key)
    if Extra.PREVIEWS in wanted:
        pictures = (event.data for event in events() if event.kind is EventKind.PREVIEW)
        for number, data in enumerate(pictures, start=1):
            ending = _PICTURES.get(str(data.get("media_type")), "")
            with contextlib.suppress(ValueError):  # no picture: not sent by a worker of ours
                yield f"{names[0]}.preview-{number:03}{ending}", base64.b64decode(str(data.get("image")))


def _fetched(
    storage: Storage,
    folder: Path,
    stem: str,
    artifact: Artifact,
    *,
    taken: Collection[Path],
    progress: ProgressHook,
) -> Path:
    """Where a file is, that was there or has been fetched."""
    # By its content: whatever it is to be called, and whichever claim made it, this is how it begins.
    # Of the record's word a digest: what stands there may be anything, a path too.
    part = folder / f".{hashlib.sha256(artifact.sha256.encode(errors='replace')).hexdigest()[:32]}.part"
    whole = False
    for path in _numbered(folder, stem, _suffix(artifact.key)):
        if path in taken:
            continue
        if os.path.lexists(path):  # a link that leads nowhere is somebody's too
            if path.is_file() and not path.is_symlink() and sha256_of(path) == artifact.sha256:
                if not whole:
                    progress(artifact.size_bytes)
                return path
        else:
            if not whole:
                _fetch(storage, artifact, part, progress)
                whole = True
            if _given(part, path):
                return path
    raise AssertionError("numbers do not end")


def _fetch(storage: Storage, artifact: Artifact, part: Path, progress: ProgressHook) -> None:
    """Have the whole content in `part`, whose beginning may be there.

    Raises:
        StorageUnavailable: nothing more came, several times; what had come stays.
        ObjectDamaged: its content is not what the job made; nothing stays.
    """
    silent = 0
    come = 0

    def note(count: int) -> None:
        nonlocal come
        come += count
        progress(count)

    while True:
        before = come
        try:
            _go_on(storage, artifact, part, come, note)
            break
        except StorageUnavailable:
            silent = 0 if come > before else silent + 1
            if silent > _TIMES_SILENT:
                raise
            time.sleep(_PAUSE_S * 2**silent)
    if (found := sha256_of(part)) != artifact.sha256:
        part.unlink(missing_ok=True)
        raise ObjectDamaged(storage.bucket, artifact.key, f"its SHA-256 is {found}, not {artifact.sha256}")


def _go_on(storage: Storage, artifact: Artifact, part: Path, told: int, progress: ProgressHook) -> None:
    # Not for appending: of two that fetch the same at once, each writes the same bytes to the same places.
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        start = file.seek(0, os.SEEK_END)
        if start > artifact.size_bytes:
            start = file.truncate(file.seek(0))
        progress(start - told)
        if start < artifact.size_bytes:
            for piece in storage.stream(artifact.key, start=start):
                file.write(piece)
                progress(len(piece))


def _given(part: Path, path: Path) -> bool:
    """Give a whole file its name, if nobody has taken the name meanwhile."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links: a moment is left in which another could come
        if os.path.lexists(path):
            return False
        part.rename(path)
    part.unlink(missing_ok=True)
    return True


def _written(folder: Path, name: str, data: bytes, *, taken: Collection[Path]) -> Path:
    """Where something small is, that was there or has been written."""
    stem, dot, ending = name.rpartition(".")
    for path in _numbered(folder, stem or name, dot + ending if stem else ""):
        if path in taken:
            continue
        try:
            with path.open("xb") as file:
                file.write(data)
            return path
        except FileExistsError:
            if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
                return path
    raise AssertionError("numbers do not end")


def _numbered(folder: Path, stem: str, suffix: str) -> Iterator[Path]:
    yield folder / f"{stem}{suffix}"
    number = 2
    while True:
        yield folder / f"{stem}-{number}{suffix}"
        number += 1
