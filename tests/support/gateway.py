"""A gateway in a thread of this process, over a real Valkey and whatever storage the test has."""

from __future__ import annotations

import functools
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from types import TracebackType
from typing import Any, Final, Self

import pytest
import uvicorn
from starlette.responses import JSONResponse, Response

from farm.aio import AsyncFarm
from farm.gateway.app import DOORS, make_app
from farm.gateway.bodies import json_object
from farm.gateway.connections import config_of
from farm.gateway.door import Call, Door, Visit
from farm.gateway.health import error
from farm.gateway.house import make_house
from farm.gateway.keys import Scope, create_key
from farm.gateway.serving import listening
from farm.notifier import store_at
from farm.settings.gateway import GatewaySettings
from farm.settings.redis import RedisSettings
from farm.storage import Storage
from farm.store.redis.assets import AssetBook
from farm.store.redis.doors import DoorBook
from farm.testing import FolderStorage
from tests.support.jobs import a_job
from tests.support.valkey import eventually


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a plain client got."""

    status: int
    headers: Message  # whose names may be written in any case
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of an error in the shape of our own doors and of Comfy API v2."""
        return str(self.json["error"]["code"])


class Gateway:
    """Runs within a ``with`` block."""

    def __init__(
        self,
        redis: RedisSettings,
        storage: Storage,
        *,
        only_here: bool = True,
        port: int = 0,
        **settings: Any,
    ) -> None:
        self.redis = redis
        self.storage = storage
        self.store = store_at(redis)
        self.book = DoorBook(redis)
        self.settings = GatewaySettings.read(**settings)
        self._listener = listening("127.0.0.1", port, idle_s=self.settings.idle_s)
        self.port = self._listener.getsockname()[1]
        farm = AsyncFarm(store=store_at(redis), storage=storage)
        self.house = make_house(farm, DoorBook(redis), AssetBook(redis), self.settings, only_here=only_here)
        config = config_of(make_app(self.house, (*DOORS, _PROBE)), idle_s=self.settings.idle_s)
        self._server = uvicorn.Server(config)
        run = functools.partial(self._server.run, sockets=[self._listener])
        self._thread = threading.Thread(target=run, name="gateway", daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def key(self, tenant: str = "acme", *scopes: Scope) -> str:
        """A new key of a tenant."""
        return create_key(self.book, tenant, scopes or (Scope.SUBMIT, Scope.READ))[1]

    def ask(
        self,
        path: str,
        *,
        method: str | None = None,
        key: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, as a client without any library makes it; a `body` that is no bytes goes as JSON."""
        sent = {**(headers or {})}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None and not isinstance(body, bytes):
            sent.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data=data, headers=sent, method=method)
        try:
            with _DIRECT.open(request, timeout=30) as answer:
                return Answer(status=answer.status, headers=answer.headers, body=answer.read())
        except urllib.error.HTTPError as exc:
            with exc:
                return Answer(status=exc.code, headers=exc.headers, body=exc.read())

    def farm_job(self, *labels: str) -> str:
        """A job that came by no door."""
        return self.store.submit([a_job(labels=list(labels))])[0].job_id

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(lambda: self._server.started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self._listener.close()
        self.book.close()
        self.store.close()
        assert not self._thread.is_alive()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_given: Any) -> None:
        return None


# What clients send where it makes no difference what is rendered.
GRAPH: Final[dict[str, Any]] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "fox.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["2", 0]}},
}

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


async def _who(visit: Visit) -> Response:
    return JSONResponse({"tenant": visit.caller.tenant})


async def _echo(visit: Visit) -> Response:
    return JSONResponse(await json_object(visit.request))


async def _fault(_visit: Visit) -> Response:
    raise ZeroDivisionError("hush")


# What is true of every door, seen at one that does nothing.
_PROBE = Door(
    name="probe",
    prefix="/probe",
    calls=(
        Call(method="GET", path="", handler=_who, scope=Scope.READ),
        Call(method="POST", path="", handler=_echo, scope=Scope.SUBMIT),
        Call(method="GET", path="/fault", handler=_fault, scope=None),
    ),
    shape=error,
)

Open = Callable[..., Gateway]


@pytest.fixture
def gateway_redis(valkey_url: str, namespace: str) -> RedisSettings:
    """Where the gateways of a test keep what they keep."""
    return RedisSettings.read(url=valkey_url, namespace=namespace, timeout_s=2.0)


@pytest.fixture
def folder_storage(tmp_path_factory: pytest.TempPathFactory) -> FolderStorage:
    """Where they put files."""
    return FolderStorage(tmp_path_factory.mktemp("s3"))


@pytest.fixture
def open_gateway(gateway_redis: RedisSettings, folder_storage: FolderStorage) -> Iterator[Open]:
    """Opens gateways, and closes them."""
    opened: list[Gateway] = []

    def make(**settings: Any) -> Gateway:
        gateway = Gateway(gateway_redis, folder_storage, **settings)
        opened.append(gateway.__enter__())
        return gateway

    yield make
    for gateway in opened:
        gateway.__exit__(None, None, None)
