"""Whether a part of the stack really answers. Each probe returns None if so, else why not (for a person).

It raises StackError where somebody else's server answers: that is not ours to use, and no waiting helps.

The servers are asked without their client libraries: to import those takes longer than the servers need to
start, on the same few cores.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from farm.errors import StackError
from farm.local.addresses import HOST, REGION
from farm.redis_address import RedisAddress

PROBE_TIMEOUT_S: Final = 2.0


def redis_refuses(port: int, password: str) -> str | None:
    """PING with the password; a server that still loads its data does not answer yet.

    Raises:
        StackError: a server with another password answers, or one that asks for none.
    """
    command = f"AUTH {password}\r\nPING\r\n".encode()
    try:
        with socket.create_connection((HOST, port), PROBE_TIMEOUT_S) as connection:
            connection.sendall(command)
            answer = b""
            while answer.count(b"\r\n") < 2 and (data := connection.recv(1024)):
                answer += data
    except OSError as exc:
        return str(exc)
    said = answer.decode(errors="replace").replace("\r\n", " ").strip()
    if answer.startswith((b"-WRONGPASS", b"-ERR AUTH")):
        raise StackError(f"a Redis that is not of this stack answers on port {port}: {said}")
    return None if answer == b"+OK\r\n+PONG\r\n" else said


def s3_refuses(port: int, bucket: str, key_id: str, secret: str) -> str | None:
    """HEAD of the bucket, signed with these keys.

    Raises:
        StackError: a server with other keys answers.
    """
    host = f"{HOST}:{port}"
    headers = _signed(host, f"/{bucket}", key_id, secret, datetime.now(UTC))
    refusal = _asked(host, "HEAD", f"/{bucket}", headers)
    if refusal is not None and f"answered {HTTPStatus.FORBIDDEN} " in refusal:
        raise StackError(f"an S3 that is not of this stack answers on port {port}: {refusal}")
    return refusal


def _signed(host: str, path: str, key_id: str, secret: str, now: datetime) -> dict[str, str]:
    """The headers of a signed HEAD without a body.

    Source: AWS, "Signature Version 4 signing process".
    """
    stamp, empty = f"{now:%Y%m%dT%H%M%SZ}", hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"HEAD\n{path}\n\n{lines}\n{names}\n{empty}"
    scope = f"{now:%Y%m%d}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for step in (*scope.split("/"), text):
        key = hmac.digest(key, step.encode(), "sha256")
    credential = f"Credential={key_id}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}


def http_refuses(port: int, path: str) -> str | None:
    """A plain GET."""
    return _asked(f"{HOST}:{port}", "GET", path, {})


def worker_missing(address: RedisAddress, namespace: str, name: str, pid: int) -> str | None:
    """The worker's status, written by this very process, and by then with its ComfyUI ready.

    That of one that was killed lies there for a while. The store itself is not asked: it comes with Celery.
    """
    import redis

    from farm.status.worker import read_status
    from farm.store.redis.address import client_at
    from farm.store.redis.keys import Keys

    with client_at(address, socket_timeout=PROBE_TIMEOUT_S) as client:
        try:
            told = client.get(Keys(namespace).worker(name))
        except redis.RedisError as exc:
            return str(exc)
    status = read_status(name, told) if told is not None else None
    if status is None or status.pid != pid:
        return "it has not said anything yet"
    return "it is starting" if status.is_starting else None


def _asked(host: str, method: str, path: str, headers: dict[str, str]) -> str | None:
    connection = http.client.HTTPConnection(host, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as exc:
        return str(exc) or type(exc).__name__
    finally:
        connection.close()
    return None if answer.status == 200 else f"{method} {path} answered {answer.status} {answer.reason}"
