"""HTTP to one ComfyUI server: requests, answers, and what went wrong in our words; knows no route."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import urllib3

from comfy.errors import ServerError, ServerForbids, ServerUnreachable
from comfy.protocol.address import ComfyAddress

_CHUNK_BYTES: Final = 1 << 20


class ComfyHttp:
    """Several threads may use one.

    Every method raises `ServerUnreachable` when there is no answer and `ServerError` when the answer is none.
    """

    def __init__(self, address: ComfyAddress, *, answer_s: float, connect_s: float) -> None:
        """Prepare; nothing is sent yet. `answer_s` is for one answer."""
        self.address = address
        self._timeout = urllib3.Timeout(connect=connect_s, read=answer_s)
        self._pool = urllib3.PoolManager(
            retries=False, maxsize=4, timeout=self._timeout, headers=dict(address.headers)
        )

    def answering_within(self, seconds: float) -> ComfyHttp:
        """The same connections, none of whose answers is waited for longer than that."""
        other = copy.copy(self)
        other._timeout = urllib3.Timeout(connect=seconds, read=seconds)
        return other

    def close(self) -> None:
        """Give the connections back."""
        self._pool.clear()

    def get(self, path: str) -> dict[str, Any]:
        """The object that the server answers with."""
        status, data = self.ask("GET", path)
        return self.object_of(path, status, data)

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """Send an object; what is answered does not count, unless it is a refusal."""
        status, data = self.ask("POST", path, json.dumps(body).encode())
        if status >= 400:
            raise self._error(path, status, data)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of any answer; `body` is JSON."""
        # Given headers replace those of the pool.
        headers = {**self.address.headers, "Content-Type": "application/json"} if body is not None else None
        # A kept connection may end just as it is used again; a question may be asked twice.
        for is_last in (False, True) if method == "GET" else (True,):
            try:
                response = self._pool.request(
                    method, self._url(path), body=body, headers=headers, timeout=self._timeout
                )
            except urllib3.exceptions.HTTPError as exc:
                if is_last or not isinstance(exc, urllib3.exceptions.ProtocolError):
                    raise self._unreachable(path, exc) from exc
            else:
                return response.status, response.data
        raise AssertionError("unreachable: the last try returns or raises")

    def send_form(self, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Send a form; the object that the server answers with."""
        try:
            response = self._pool.request("POST", self._url(path), fields=dict(fields))
        except urllib3.exceptions.HTTPError as exc:
            raise self._unreachable(path, exc) from exc
        return self.object_of(path, response.status, response.data)

    def size_of(self, path: str) -> int | None:
        """How many bytes an address would give; None: it gives none, or does not say."""
        try:
            response = self._pool.request("HEAD", self._url(path))
        except urllib3.exceptions.HTTPError as exc:
            raise self._unreachable(path, exc) from exc
        said = response.headers.get("Content-Length", "")
        return int(said) if response.status == 200 and said.isdecimal() else None

    def download(self, path: str, into: BinaryIO) -> int:
        """Write what an address gives into an open file, in pieces; its size in bytes."""
        written = 0
        try:
            with self._pool.request("GET", self._url(path), preload_content=False) as response:
                if response.status != 200:
                    raise self._error(path, response.status, response.read())
                for chunk in response.stream(_CHUNK_BYTES):
                    written += into.write(chunk)
                response.release_conn()
        except urllib3.exceptions.HTTPError as exc:
            raise self._unreachable(path, exc) from exc
        return written

    def object_of(self, path: str, status: int, data: bytes) -> dict[str, Any]:
        """The object in an answer."""
        answer = json_or_text(data)
        if status >= 400 or not isinstance(answer, dict):
            raise self._error(path, status, data[:1000])
        return answer

    def _url(self, path: str) -> str:
        return self.address.url + path

    def _unreachable(self, path: str, exc: Exception) -> ServerUnreachable:
        never_sent = isinstance(exc, urllib3.exceptions.NewConnectionError)
        return ServerUnreachable(self._url(path), str(exc), refused=never_sent)

    def _error(self, path: str, status: int, data: bytes) -> ServerError:
        kind = ServerForbids if status in (401, 403) else ServerError
        return kind(self._url(path), status, data.decode(errors="replace"))


def json_or_text(data: bytes) -> Any:
    """What an answer says, as a value where it is JSON."""
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


def quoted(part: str) -> str:
    """One part of a path."""
    return quote(part, safe="")
