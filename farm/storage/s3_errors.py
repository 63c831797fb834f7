"""What botocore raises becomes what the farm raises: one table, with the host and the setting to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.utils import get_environ_proxies
from s3transfer.exceptions import RetriesExceededError, S3ValidationError

from farm.errors import BucketNotFound, FarmError, ObjectNotFound, StorageDenied, StorageUnavailable
from farm.process.environment import is_loopback, without_login
from farm.storage.endpoint import S3Endpoint

_DENIED: Final = {
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret does not fit the access key",
    "AccessDenied": "the access key may not do this",
    "ExpiredToken": "the session token has expired",
    "InvalidToken": "the session token is not valid",
    "TokenRefreshRequired": "the session token has expired",
    "AccountProblem": "the account is blocked",
    "RequestTimeTooSkewed": "the clocks differ too much: set the clock of this machine",
    "RequestExpired": "the clocks differ too much: set the clock of this machine",
}
_WRONG_REGION: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
)

_CUT_SHORT: Final[dict[tuple[type[Exception], ...], str]] = {
    (boto.ConnectTimeoutError, boto.ReadTimeoutError): "no answer in time",
    (
        boto.ConnectionClosedError,
        boto.ResponseStreamingError,
        boto.IncompleteReadError,
    ): "the connection was cut",
}


@contextmanager
def s3_errors(
    endpoint: S3Endpoint, doing: str, *, key: str = "", bucket: str | None = None
) -> Iterator[None]:
    """Let nothing of botocore, s3transfer or urllib3 out of a block.

    Args:
        doing: what was tried, for the message: "upload of x".
    """
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (boto.BotoCoreError, boto.ClientError, RetriesExceededError, S3ValidationError, HTTPError) as exc:
        raise translate(exc, endpoint, doing, key=key, bucket=bucket or endpoint.bucket) from exc


def is_missing(exc: Exception) -> bool:
    """Whether botocore says 404: no such key, or no such bucket (an answer to HEAD does not tell which)."""
    return isinstance(exc, boto.ClientError) and _status(exc) == 404 and _code(exc) != "NoSuchBucket"


def translate(exc: Exception, endpoint: S3Endpoint, doing: str, *, key: str, bucket: str) -> FarmError:
    """The error of ours for one of theirs."""
    if isinstance(exc, RetriesExceededError) and isinstance(exc.last_exception, Exception):
        exc = exc.last_exception
    if isinstance(exc, boto.ClientError):
        return _of_answer(exc, endpoint, doing, key=key, bucket=bucket)
    if isinstance(
        exc, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError
    ):
        return StorageDenied(endpoint.name, f"there are no credentials for it ({exc})")
    return _unavailable(endpoint, f"{_connection_reason(exc)} ({doing})")


def _of_answer(
    exc: boto.ClientError, endpoint: S3Endpoint, doing: str, *, key: str, bucket: str
) -> FarmError:
    code, status = _code(exc), _status(exc)
    if code == "NoSuchBucket":
        return BucketNotFound(endpoint.name, bucket)
    if is_missing(exc):
        return ObjectNotFound(bucket, key)
    if code in _DENIED or status in (401, 403):
        return StorageDenied(endpoint.name, f"{_DENIED.get(code, 'access denied')} ({doing}: {code})")
    if code in _WRONG_REGION:
        reason = f"the bucket {bucket!r} is not in region {endpoint.region!r} ({doing}: {code})"
        return StorageUnavailable(endpoint.name, reason, setting="FARM_S3_REGION")
    said = str(exc.response.get("Error", {}).get("Message", "")).strip()
    return _unavailable(endpoint, f"it answered {status} {code} to the {doing}: {said[:200]}")


def _unavailable(endpoint: S3Endpoint, reason: str) -> StorageUnavailable:
    """Names the proxy too that the request went through: it may be the one that failed."""
    proxy = proxy_of(endpoint)
    if proxy is None:
        return StorageUnavailable(endpoint.name, reason)
    through = f"asked through the proxy {proxy}, which NO_PROXY can keep out of it"
    return StorageUnavailable(endpoint.name, f"{reason}; {through}")


def proxy_of(endpoint: S3Endpoint) -> str | None:
    """The proxy that the environment puts before the store, without its password; None: none.

    Source: botocore ``httpsession.py``, which asks the same function.
    """
    url = urlsplit(endpoint.endpoint_url or "https://s3.amazonaws.com")
    if is_loopback(url.hostname or ""):
        return None
    found = get_environ_proxies(url.geturl()).get(url.scheme)
    return without_login(found) if found else None


def _connection_reason(exc: Exception) -> str:
    """Why no answer came, in words; botocore hides the cause in `kwargs`."""
    cause: Any = getattr(exc, "kwargs", {}).get("error")
    detail = f"{cause or exc}"
    if isinstance(exc, boto.ProxyConnectionError):
        return f"the proxy did not let us through: {detail[:200]}"
    if "Failed to resolve" in detail or "NameResolution" in type(cause).__name__:
        return "its name cannot be resolved"
    if "refused" in detail:
        return "the connection was refused: nothing listens there"
    if isinstance(exc, boto.SSLError):
        return f"TLS failed: {detail[:200]}"
    if "TimeoutError" in detail:
        return "no answer in time"  # nothing more of the request was taken, which botocore calls a cut
    words = (words for kinds, words in _CUT_SHORT.items() if isinstance(exc, kinds))
    return next(words, f"{type(exc).__name__}: {detail[:200]}")


def _code(exc: boto.ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))


def _status(exc: boto.ClientError) -> int:
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
