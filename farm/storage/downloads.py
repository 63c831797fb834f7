"""Names for downloaded files: told apart by themselves, and nothing that is there already is overwritten."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from comfy.graphs.links import inputs_of
from farm.errors import SettingsError
from farm.job import Artifact, JobRecord, JobSpec
from farm.storage import Storage
from farm.storage.base import sha256_of

DEFAULT_NAME: Final = "{title}-{seed}-{job}"
_JOB_LENGTH: Final = 12  # as lists show it
_MOST_BYTES: Final = 80  # of one field: file systems take names of 255
_SEED_INPUTS: Final = ("seed", "noise_seed")
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_FIELD: Final = re.compile(r"\{(\w*)\}")


def download_all(
    record: JobRecord, storage: Storage, folder: Path, *, name: str = DEFAULT_NAME
) -> list[Path]:
    """Every file of a succeeded job, put into `folder`; returns the paths, in the order of its artifacts.

    A file that is there with the same content is kept and not fetched again; beside one with another content
    the new one gets a number.

    Args:
        name: of the files, without their ending: text with `{title}`, `{seed}`, `{job}`, `{node}` (that
            made the file), `{file}` (as ComfyUI named it), `{number}` (from 1), or a parameter of the
            job's template.

    Raises:
        SettingsError: `name` has a field that this job does not; or there can be no such folder.
        StorageUnavailable: S3 does not give a file; what had come whole stays.
    """
    artifacts = record.result.artifacts if record.result is not None else ()
    names = [_stem(record, artifact, number, name) for number, artifact in enumerate(artifacts, start=1)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"{folder} cannot be a folder for files: {exc.strerror}") from exc
    paths: list[Path] = []
    for artifact, stem in zip(artifacts, names, strict=True):
        path, there = _free_path(folder, stem, artifact, taken=paths)
        if not there:
            storage.download(artifact.key, path, sha256=artifact.sha256)
        paths.append(path)
    return paths


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
        "title": record.spec.title,
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

    return _plain(_FIELD.sub(value, template)) or record.job_id[:_JOB_LENGTH]


def _plain(text: str) -> str:
    """A text as a file's name on any system: letters of any script stay, what is empty leaves no gap."""
    words = re.sub(r"[^\w.+-]+", "_", text.replace("×", "x"))
    return re.sub(r"-{2,}", "-", words).strip("._-")


def _suffix(key: str) -> str:
    """The ending of a stored file's name, if it is one of those that files have."""
    found = _SUFFIX.search(key)
    return found[0] if found is not None else ""


def _free_path(folder: Path, stem: str, artifact: Artifact, *, taken: list[Path]) -> tuple[Path, bool]:
    """Where a file goes, and whether it is there already."""
    for path in _numbered(folder, stem, _suffix(artifact.key)):
        if path in taken:
            continue
        if not os.path.lexists(path):  # a link that leads nowhere is somebody's too
            return path, False
        if path.is_file() and not path.is_symlink() and sha256_of(path) == artifact.sha256:
            return path, True
    raise AssertionError("numbers do not end")


def _numbered(folder: Path, stem: str, suffix: str) -> Iterator[Path]:
    yield folder / f"{stem}{suffix}"
    number = 2
    while True:
        yield folder / f"{stem}-{number}{suffix}"
        number += 1
