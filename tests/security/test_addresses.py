"""Every address is read once: all who go by it mean the same place, or all refuse it; none shows a secret."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from comfy.protocol.address import ComfyAddress
from farm.asking.sources import address_fault, without_pin
from farm.broker import make_app
from farm.errors import SettingsError
from farm.redis_address import RedisAddress
from farm.settings.environment import FromEnvironment
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.settings.worker import WorkerSettings
from farm.storage.endpoint import read_endpoint
from farm.storage.keys import parse_s3_uri
from farm.store.base import StoreLimits
from farm.store.redis.store import connect
from farm.testing import PlainNotifier

SECRETS = ("s3cret", "pa", "t0p")

GOOD_REDIS = [
    ("redis://host", "redis://host:6379/0", {}),
    ("redis://host/", "redis://host:6379/0", {}),
    ("redis://host:6380/3", "redis://host:6380/3", {}),
    ("REDIS://Host/1", "redis://host:6379/1", {}),
    ("  redis://host/1\n", "redis://host:6379/1", {}),
    ("valkey://host", "redis://host:6379/0", {}),
    ("valkeys://host", "rediss://host:6379/0", {}),
    ("redis://:s3cret@host", "redis://host:6379/0", {"password": "s3cret"}),
    ("redis://me:s3cret@host", "redis://host:6379/0", {"username": "me", "password": "s3cret"}),
    ("redis://m:s3%2F%23%3F%40%25@host/0", "redis://host:6379/0", {"username": "m", "password": "s3/#?@%"}),
    ("redis://:p[s:w@d!$&'()*+,;=@host", "redis://host:6379/0", {"password": "p[s:w@d!$&'()*+,;="}),
    ("redis://:p%C3%A4ss@host", "redis://host:6379/0", {"password": "päss"}),
    ("redis://[::1]:6379/0", "redis://[::1]:6379/0", {}),
    ("redis://[2001:DB8::7]/2", "redis://[2001:db8::7]:6379/2", {}),
    ("redis://my_redis-1.svc/0", "redis://my_redis-1.svc:6379/0", {}),
    ("rediss://:s3cret@host:6380/0", "rediss://host:6380/0", {"password": "s3cret"}),
    ("rediss://host?ssl_ca_certs=/etc/hostname", "rediss://host:6379/0", {}),
]  # fmt: skip
BAD_REDIS = [
    ("rediss://host?ssl_ca_certs=/nowhere/ca.pem", "ssl_ca_certs names a file that is not there"),
    ("rediss://host?ssl_certfile=/nowhere/a.pem&ssl_keyfile=/nowhere/b.pem", "ssl_certfile names a file"),
    ("", "form"),
    ("host:6379", "form"),
    ("redis:/host", "form"),
    ("redis://", "host or port"),
    ("redis:///0", "host or port"),
    ("unix:///run/redis.sock", "form"),
    ("unix://:s3cret@/run/redis.sock", "form"),
    ("redis+socket:///run/redis.sock", "form"),
    ("http://host", "form"),
    ("memory://", "form"),
    ("redis://:pa/s3cret@host:6379/0", "%2F"),
    ("redis://:pa#s3cret@host:6379/0", "%23"),
    ("redis://:pa?s3cret@host:6379/0", "%3F"),
    ("redis://me:12/s3cret@host", "%2F"),
    ("redis://me:12#s3cret@host", "%23"),
    ("redis://host#s3cret", "'#'"),
    ("redis://host/abc", "number of a database"),
    ("redis://host/-1", "number of a database"),
    ("redis://host/0/1", "number of a database"),
    ("redis://host/٣", "number of a database"),
    ("redis://host/1e3", "number of a database"),
    ("redis://host/" + "9" * 5000, "number of a database"),
    ("redis://host:99999", "port"),
    ("redis://host:0", "port"),
    ("redis://host:port", "port"),
    ("redis://[::1", "port"),
    ("redis://[zz]:1", "IPv6"),
    ("redis://::1:6379", "port"),
    ("redis://:s3cret@[::1", "port"),
    ("redis://ho st", "blank"),
    ("redis://host\x00", "blank"),
    ("redis://host?db=3", "db is no option"),
    ("redis://host?password=s3cret", "password is no option"),
    ("redis://host?ssl_cert_reqs=none", "no option"),
    ("redis://host?protocol=3", "protocol is no option"),
    ("rediss://host?ssl_cert_reqs=maybe", "required or none"),
    ("redis://me@host", "no password"),
    ("redis://a,b", "host or port"),
    ("sentinel://a,b/0", "how the sentinels call"),
    ("sentinel://a,b/x?master=m", "number of a database"),
    ("sentinel://a,,b/0?master=m", "host or port"),
    ("sentinel://a/0?master=m&password=s3cret", "password is no option"),
    ("sentinel://:pa/s3cret@a/0?master=m", "%2F"),
]
GOOD_COMFYUI = [
    ("http://127.0.0.1:8188", "http://127.0.0.1:8188"),
    ("HTTP://Host:8188/", "http://host:8188"),
    ("https://host/a/b/", "https://host/a/b"),
    ("http://[::1]:8188", "http://[::1]:8188"),
    ("http://me:s3%2Fcret@host/ui", "http://host/ui"),
    (" http://host ", "http://host"),
]
BAD_COMFYUI = [
    ("host:8188", "form"),
    ("ws://host", "form"),
    ("ftp://me:s3cret@host", "form"),
    ("http://", "port"),
    ("http://[::1", "port"),
    ("http://me:s3cret@[::1", "port"),
    ("http://me:12/s3cret@host", "%2F"),
    ("http://me:pa#s3cret@host", "%23"),
    ("http://me:pa?s3cret@host", "%3F"),
    ("http://me:s3cret@host:99999", "port"),
    ("http://host/?token=s3cret", "'?'"),
    ("http://host\r\nX-Evil: 1", "blank"),
]
GOOD_S3 = [
    ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    ("HTTP://Minio:9000/", "http://minio:9000"),
    ("https://[::1]:9000", "https://[::1]:9000"),
    ("https://s3-accelerate.amazonaws.com", "https://s3-accelerate.amazonaws.com"),
    ("https://farm.s3-accelerate.amazonaws.com", "https://s3-accelerate.amazonaws.com"),
    ("https://farm.s3-accelerate.dualstack.amazonaws.com", "https://s3-accelerate.dualstack.amazonaws.com"),
]
BAD_S3 = [
    ("minio:9000", "form"),
    ("s3://farm", "form"),
    ("http://[::1", "port"),
    ("https://key:s3cret@host", "FARM_S3_ACCESS_KEY_ID"),
    ("https://key:pa/s3cret@host", "%2F"),
    ("https://host/?X-Amz-Signature=s3cret", "'?'"),
    ("https://host:x", "port"),
]


def refused(group: type[FromEnvironment], **given: Any) -> str:
    """What is said of a wrong setting, with all that a log would have of it."""
    with pytest.raises(SettingsError) as told:
        group.read(**given)
    whole = "".join(traceback.format_exception(told.value))
    for secret in SECRETS:
        assert secret not in _words(str(told.value)), told.value
    assert "s3cret" not in whole
    return str(told.value)


def _words(text: str) -> list[str]:
    return text.replace("/", " ").replace("'", " ").replace("@", " ").split()


@pytest.mark.parametrize(("text", "shown", "credentials"), GOOD_REDIS)
def test_ledger_celery_and_flower_mean_the_same_redis(
    text: str, shown: str, credentials: dict[str, str]
) -> None:
    settings = RedisSettings.read(url=text)
    app = make_app(settings)
    address = settings.address

    store = connect(settings, StoreLimits(), PlainNotifier("{farm}:q:"))
    ledger = store._client.connection_pool.connection_kwargs
    celery = app.connection_for_read()
    flower = _flower_broker()(celery.as_uri(include_password=True), **_flower_options(app))

    assert (str(address), dict(address.credentials)) == (shown, credentials)
    place = (address.hosts[0][0], address.hosts[0][1], address.db)
    assert (ledger["host"], ledger["port"], ledger["db"]) == place
    assert (celery.hostname, celery.port or 6379, int(celery.virtual_host or 0)) == place
    assert (flower.host, flower.port, flower.vhost) == place
    said = {"username": celery.userid, "password": celery.password}
    for seen in (ledger, said, vars(flower)):
        assert {name: seen[name] for name in ("username", "password") if seen.get(name)} == credentials
    assert "s3" not in f"{address!r} {settings!r} {settings}".replace("rediss", "")


def _flower_broker() -> Callable[..., Any]:
    from flower.utils.broker import Broker

    made: Callable[..., Any] = Broker
    return made


def _flower_options(app: Any) -> dict[str, Any]:
    options = {"broker_options": app.conf.broker_transport_options}
    return {**options, "broker_use_ssl": app.conf.broker_use_ssl} if app.conf.broker_use_ssl else options


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_over_tls_everybody_checks_the_certificate(scheme: str) -> None:
    settings = RedisSettings.read(url=f"{scheme}://host?ssl_ca_certs=/etc/hostname")
    app = make_app(settings)

    ledger = connect(settings, StoreLimits(), PlainNotifier("x"))._client.connection_pool.connection_kwargs

    celery: Any = app.connection_for_read().ssl
    for seen in (ledger, celery, app.conf.broker_use_ssl):
        assert seen["ssl_cert_reqs"] == ssl.CERT_REQUIRED
        assert seen["ssl_check_hostname"] is True
        assert seen["ssl_ca_certs"] == "/etc/hostname"


def test_a_certificate_that_nobody_checks_has_to_be_asked_for() -> None:
    address = RedisAddress.parse("rediss://host?ssl_cert_reqs=none")

    assert address.tls == {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}
    assert not address.is_verified


@pytest.mark.parametrize(("text", "why"), BAD_REDIS)
def test_what_not_everybody_could_use_is_refused_for_redis(text: str, why: str) -> None:
    if not text:
        with pytest.raises(ValueError, match=why):
            RedisAddress.parse(text)
        return
    said = refused(RedisSettings, url=text)

    assert said.startswith("FARM_REDIS_URL: ")
    assert why in said
    assert len(said) < 400


@pytest.mark.parametrize(("text", "url"), GOOD_COMFYUI)
def test_an_address_of_comfyui_is_read(text: str, url: str) -> None:
    address = WorkerSettings.read(comfyui_url=text).comfyui_address

    assert address is not None
    assert str(address) == url
    assert "s3" not in f"{address!r}"


@pytest.mark.parametrize(("text", "why"), BAD_COMFYUI)
def test_what_is_no_address_of_comfyui_is_refused(text: str, why: str) -> None:
    said = refused(WorkerSettings, comfyui_url=text)

    assert said.startswith("COMFYUI_URL: ")
    assert why in said


@pytest.mark.parametrize("token", ["t0p s3cret", "s3cret\r\nX-Evil: 1", "s3cr\u00e9t"])
def test_a_token_that_no_header_takes_is_refused(token: str) -> None:
    assert "token" in refused(WorkerSettings, comfyui_url="http://host", comfyui_token=token)


@pytest.mark.parametrize(("text", "url"), GOOD_S3)
def test_an_endpoint_is_read(text: str, url: str) -> None:
    place = read_endpoint(S3Settings.read(endpoint_url=text, region="eu-west-1"))

    assert (place.endpoint_url, place.bucket, place.region) == (url, "farm", "eu-west-1")


@pytest.mark.parametrize("variable", ["endpoint_url", "public_endpoint_url"])
@pytest.mark.parametrize(("text", "why"), BAD_S3)
def test_what_is_no_endpoint_is_refused(text: str, why: str, variable: str) -> None:
    said = refused(S3Settings, **{variable: text})

    assert said.startswith(f"FARM_S3_{variable.upper()}: ")
    assert why in said


def test_a_parsed_address_is_the_same_when_it_is_read_again() -> None:
    for text, _, _ in GOOD_REDIS:
        address = RedisAddress.parse(text)
        assert RedisAddress.parse(address.urls()[0]).credentials == address.credentials
    assert ComfyAddress.parse("http://host").headers == {}


@pytest.mark.parametrize(
    "address",
    [
        "s3://farm/../x",
        "s3://farm/..",
        "s3://farm/.",
        "s3://farm/a/../../x.png",
        "s3://farm/a/./x.png",
        "s3://farm/%2e%2e/x.png",
        "s3://farm/a/%2E%2E%2Fx.png",
        "s3://../farm/x.png",
        "s3://./x.png",
        "s3://farm/../x#sha256=" + "0" * 64,
    ],
)
def test_an_s3_input_that_climbs_is_refused_when_the_job_is_submitted(address: str) -> None:
    assert "'..'" in (address_fault(address) or "")
    with pytest.raises(ValueError, match="s3"):
        parse_s3_uri(without_pin(address).address)


@pytest.mark.parametrize(
    "address", ["s3://farm/a..b/x.png", "s3://farm/.hidden", "s3://farm/...", "s3://b/a//b"]
)
def test_an_s3_input_with_other_dots_is_anybodys_key(address: str) -> None:
    assert address_fault(address) is None
