"""Settings, read from the environment once, at the entry point. `docs/configuration.md` lists them.

Each group is a frozen pydantic model; a field's description is the documentation of its variable.
The variables of runpod's worker-comfyui are accepted under their own names, so that an image that
was set up for it works here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo

from comfy.protocol.address import ComfyAddress
from farm.errors import SettingsError, in_words
from farm.job import VramClass
from farm.process.environment import is_service_link
from farm.redis_address import RedisAddress
from farm.s3_address import S3Address

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_IN_FILE: Final = "_FILE"


def _variable(name: str, *others: str) -> AliasChoices:
    return AliasChoices(name, *others)


class FromEnvironment(BaseModel):
    """A group of settings. pydantic-settings does the same, but takes a tenth of a second to import."""

    # Their input may be a secret, and an error ends in logs.
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    def __init__(self, **given: Any) -> None:
        """What is not `given`, by a field's name or by a variable's, is read from the environment."""
        super().__init__(**given, **_set_in_environment(type(self), given))

    @classmethod
    def read(cls, **given: Any) -> Self:
        """From the environment; `given` wins.

        Raises:
            SettingsError: a variable is missing or wrong; the message names it.
        """
        try:
            return cls(**given)
        except ValidationError as exc:
            raise SettingsError("; ".join(map(_in_words, exc.errors()))) from exc


def _in_words(error: ErrorDetails) -> str:
    """One fault, with its variable; what a group says of itself as a whole names its variables itself."""
    setting = ".".join(map(str, error["loc"]))
    message = in_words(error["msg"])
    return f"{setting}: {message}" if setting else message


def variables_of(field: FieldInfo) -> list[str]:
    """The variables that set a field; the first one that is set counts."""
    alias = field.validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else []


def _set_in_environment(group: type[FromEnvironment], given: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in group.model_fields.items():
        variables = variables_of(field)
        if given.keys().isdisjoint((name, *variables)):
            # An empty variable counts as not set: that is how a compose file passes on what it does not have.
            found.update([(each, value) for each in variables if (value := _value_of(each, field))][:1])
    return found


def _value_of(variable: str, field: FieldInfo) -> str | None:
    """What a variable says; a secret may stand in the file that the variable with ``_FILE`` behind it names.

    Raises:
        SettingsError: there is such a file and it cannot be read.
    """
    value = os.environ.get(variable)
    path = os.environ.get(f"{variable}{_IN_FILE}") if not value and _is_secret(field) else None
    if not path:
        return value
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{variable}{_IN_FILE} cannot be read: {exc}") from None


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


class RedisSettings(FromEnvironment):
    """Where jobs are kept and announced."""

    url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        validation_alias=_variable("FARM_REDIS_URL"),
        description="Redis or Valkey >= 6.2: `redis://[user:password@]host:port/db`; `rediss://` for TLS, "
        "with `?ssl_ca_certs=FILE` (and `ssl_certfile`, `ssl_keyfile`) for certificates of your own, "
        "`?ssl_cert_reqs=none` for one that nobody can check; behind Sentinel "
        "`sentinel://[user:password@]host:port,host:port/db?master=NAME`, with `&sentinel_user=` and "
        "`&sentinel_password=` if the sentinels ask for them (no TLS there).",
    )
    namespace: str = Field(
        "farm",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
        validation_alias=_variable("FARM_NAMESPACE"),
        description="Prefix of every key; several farms may share one Redis.",
    )
    timeout_s: float = Field(
        5.0,
        gt=0,
        validation_alias=_variable("FARM_REDIS_TIMEOUT_S"),
        description="Seconds to wait for an answer of Redis before it counts as unreachable.",
    )

    replicas: int = Field(
        0,
        ge=0,
        validation_alias=_variable("FARM_REPLICAS"),
        description="Replicas that must have a new job before `submit` returns; 0: a fail-over may lose the "
        "jobs of its last moments.",
    )
    durable: Literal["server", "fsync"] = Field(
        "server",
        validation_alias=_variable("FARM_DURABLE"),
        description="When a submit and a result count: as soon as Redis says so (`server`; what a crash "
        "takes then is up to its `appendfsync`), or when its file is on the disk (`fsync`, once for a "
        "batch: one to two seconds under `everysec`, nothing more under `always`).",
    )

    @property
    def address(self) -> RedisAddress:
        """Where it is, read.

        Raises:
            ValueError: it is no address that all parts of the farm can use.
        """
        try:
            return RedisAddress.parse(self.url.get_secret_value())
        except ValueError as exc:
            raise ValueError(f"FARM_REDIS_URL: {exc}") from None

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        _ = self.address
        return self


class StoreSettings(FromEnvironment):
    """How long leases, retries and finished jobs last."""

    lease_s: float = Field(
        15.0,
        gt=0,
        validation_alias=_variable("FARM_LEASE_S"),
        description="Seconds after which a worker that was not heard of loses its job.",
    )
    renew_s: float = Field(
        3.0,
        gt=0,
        validation_alias=_variable("FARM_RENEW_S"),
        description="Seconds between two renewals of a lease; well under FARM_LEASE_S.",
    )
    sweep_s: float = Field(
        1.0,
        gt=0,
        validation_alias=_variable("FARM_SWEEP_S"),
        description="Seconds between two sweeps of the steward.",
    )
    notify_again_after_s: float = Field(
        30.0,
        gt=0,
        validation_alias=_variable("FARM_NOTIFY_AGAIN_AFTER_S", "FARM_RING_AGAIN_AFTER_S"),
        description="Seconds after which a queued job whose message is missing is announced again.",
    )
    avoid_s: float = Field(
        20.0,
        ge=0,
        validation_alias=_variable("FARM_AVOID_S"),
        description="Seconds for which a failed job is kept from the worker that failed it.",
    )
    max_lost_attempts: int = Field(
        3,
        ge=1,
        validation_alias=_variable("FARM_MAX_LOST_ATTEMPTS"),
        description="A job that lost this many workers is failed as poison.",
    )
    max_lost_publishing: int = Field(
        5,
        ge=1,
        validation_alias=_variable("FARM_MAX_LOST_PUBLISHING"),
        description="The same for workers that were lost while they only published its files; counted apart.",
    )
    max_machine_failures: int = Field(
        5,
        ge=1,
        validation_alias=_variable("FARM_MAX_MACHINE_FAILURES"),
        description="A job that failed so often for the reasons of a machine is failed as poison.",
    )
    retention_days: float = Field(
        7.0,
        gt=0,
        validation_alias=_variable("FARM_RETENTION_DAYS"),
        description="Days for which finished jobs are kept in Redis; their files in S3 stay.",
    )
    events_kept: int = Field(
        1000,
        ge=10,
        validation_alias=_variable("FARM_EVENTS_KEPT"),
        description="Events kept per job, about.",
    )

    @property
    def grace_s(self) -> float:
        """Seconds for which a steward leaves leases alone after an outage: all can be renewed meanwhile."""
        return self.renew_s + 1.0


class S3Settings(FromEnvironment):
    """Where videos go."""

    endpoint_url: str | None = Field(
        None,
        validation_alias=_variable("FARM_S3_ENDPOINT_URL", "BUCKET_ENDPOINT_URL"),
        description="S3 endpoint; empty for AWS. A bucket as its first path part is read too.",
    )
    bucket: str = Field(
        "farm",
        validation_alias=_variable("FARM_S3_BUCKET", "BUCKET_NAME"),
        description="Bucket for results and inputs; it must exist.",
    )
    access_key_id: SecretStr | None = Field(
        None,
        validation_alias=_variable("FARM_S3_ACCESS_KEY_ID", "BUCKET_ACCESS_KEY_ID"),
        description="Access key; empty: boto3's own search (environment, profile, instance role).",
    )
    secret_access_key: SecretStr | None = Field(
        None,
        validation_alias=_variable("FARM_S3_SECRET_ACCESS_KEY", "BUCKET_SECRET_ACCESS_KEY"),
        description="Secret of the access key.",
    )
    region: str = Field(
        "us-east-1",
        validation_alias=_variable("FARM_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
        description="Region; `auto` for R2.",
    )
    prefix: str = Field(
        "",
        pattern=r"^([a-z0-9_-][a-z0-9._-]*(/[a-z0-9_-][a-z0-9._-]*)*)?$",
        validation_alias=_variable("FARM_S3_PREFIX"),
        description="Folder within the bucket for all keys of the farm.",
    )
    url_expires_s: int = Field(
        3600,
        ge=1,
        le=7 * 86400,
        validation_alias=_variable("FARM_S3_URL_EXPIRES_S"),
        description="Seconds for which a presigned link is good, unless the caller says otherwise; whoever "
        "has the link has the clip.",
    )
    public_endpoint_url: str | None = Field(
        None,
        validation_alias=_variable("FARM_S3_PUBLIC_ENDPOINT_URL"),
        description="Address of the same S3 for presigned links, where browsers do not reach the endpoint. A "
        "proxy there must pass the Host header and the path on as they come, for both are signed.",
    )

    @property
    def address(self) -> S3Address | None:
        """Where the server is, read; None: AWS."""
        return _s3_address(self.endpoint_url, "FARM_S3_ENDPOINT_URL")

    @property
    def public_address(self) -> S3Address | None:
        """What links begin with, read; None: they begin as the server's own address."""
        return _s3_address(self.public_endpoint_url, "FARM_S3_PUBLIC_ENDPOINT_URL")

    @model_validator(mode="after")
    def _has_addresses(self) -> Self:
        _ = self.address, self.public_address
        return self


def _s3_address(url: str | None, variable: str) -> S3Address | None:
    try:
        return S3Address.parse(url) if url else None
    except ValueError as exc:
        raise ValueError(f"{variable}: {exc}") from None


class CleanSettings(FromEnvironment):
    """What is removed from S3, and when."""

    every_s: float = Field(
        3600.0,
        ge=0,
        validation_alias=_variable("FARM_CLEAN_EVERY_S"),
        description="Seconds between two clean-ups of S3 by the workers; 0: only `farm clean` does it.",
    )
    orphan_hours: float = Field(
        24.0,
        ge=1,
        validation_alias=_variable("FARM_ORPHAN_HOURS"),
        description="Hours after which files in S3 are removed that no job names: of attempts that failed, "
        "lost, or never ended their upload.",
    )
    input_days: float = Field(
        30.0,
        ge=0,
        validation_alias=_variable("FARM_INPUT_DAYS"),
        description="Days without a new upload after which an input that no job in Redis names is removed "
        "from S3; 0: never. At least 2.",
    )
    result_days: float = Field(
        0.0,
        ge=0,
        validation_alias=_variable("FARM_RESULT_DAYS"),
        description="Days after which the files of succeeded jobs are removed from S3; 0: never.",
    )


class WorkerSettings(FromEnvironment):
    """One worker: its ComfyUI, its card, its folders."""

    @property
    def comfyui_address(self) -> ComfyAddress | None:
        """Of the ComfyUI to attach to, with what it wants to see; None: one is started.

        Raises:
            ValueError: it is no address, or its token cannot be read.
        """
        if self.comfyui_url is None:
            return None
        token = self.comfyui_token.get_secret_value() if self.comfyui_token is not None else None
        if self.comfyui_token_file is not None:
            try:
                token = self.comfyui_token_file.read_text().strip()
            except OSError as exc:
                raise ValueError(f"COMFYUI_TOKEN_FILE cannot be read: {exc.strerror}") from exc
        try:
            return ComfyAddress.parse(self.comfyui_url.get_secret_value(), token=token)
        except ValueError as exc:
            raise ValueError(f"COMFYUI_URL: {exc}") from None

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        _ = self.comfyui_address
        return self

    name: str | None = Field(
        None,
        validation_alias=_variable("FARM_WORKER_NAME"),
        description="Name of the worker in lists and in Flower; default `gpu<index>@<host>`.",
    )
    comfyui_dir: Path | None = Field(
        None,
        validation_alias=_variable("COMFYUI_DIR"),
        description="Folder of the ComfyUI to start (it holds main.py).",
    )
    comfyui_python: Path | None = Field(
        None,
        validation_alias=_variable("COMFYUI_PYTHON"),
        description="Interpreter for it; default: `.venv` or `venv` inside COMFYUI_DIR, else this one.",
    )
    comfyui_base: Path | None = Field(
        None,
        validation_alias=_variable("COMFYUI_BASE"),
        description="Folder with `models` and `custom_nodes` when they are not in COMFYUI_DIR.",
    )
    comfyui_args: str = Field(
        "",
        validation_alias=_variable("COMFYUI_ARGS"),
        description="More arguments for ComfyUI, as on a command line.",
    )
    comfyui_url: SecretStr | None = Field(
        None,
        validation_alias=_variable("COMFYUI_URL"),
        description="Attach to a ComfyUI that runs already, instead of starting one: "
        "`http://[user:password@]host:port[/path]`, or `https://`.",
    )
    comfyui_token: SecretStr | None = Field(
        None,
        validation_alias=_variable("COMFYUI_TOKEN"),
        description="Token that it, or a proxy before it, wants: sent as `Authorization: Bearer`.",
    )
    comfyui_token_file: Path | None = Field(
        None,
        validation_alias=_variable("COMFYUI_TOKEN_FILE"),
        description="File that holds this token, instead of COMFYUI_TOKEN.",
    )
    comfyui_outage_s: float = Field(
        600.0,
        gt=0,
        validation_alias=_variable("COMFYUI_OUTAGE_S"),
        description="Seconds for which a worker keeps its job while the ComfyUI that COMFYUI_URL names does "
        "not answer; then another worker may have it.",
    )
    comfyui_output: Path | None = Field(
        None,
        validation_alias=_variable("COMFYUI_OUTPUT"),
        description="Its output folder, if COMFYUI_URL is set and the disk is shared; else /view is used.",
    )
    comfy_variables: str = Field(
        "",
        validation_alias=_variable("FARM_COMFY_VARIABLES"),
        description="Variables that ComfyUI gets besides what it computes by, with commas between, such as "
        "`HF_TOKEN`: its custom nodes can read them.",
    )
    comfy_user: str = Field(
        "",
        validation_alias=_variable("FARM_COMFY_USER"),
        description="Whom the ComfyUI that a worker starts runs as: `name`, `name:group` or `uid:gid`; then "
        "its custom nodes cannot read what is the worker's. The worker has to be root. Empty: as the worker.",
    )
    comfy_log_level: str = Field(
        "INFO",
        validation_alias=_variable("COMFY_LOG_LEVEL"),
        description="Log level that ComfyUI is started with.",
    )
    emulator_args: str = Field(
        "",
        validation_alias=_variable("FARM_EMULATOR_ARGS"),
        description="More arguments for the emulator, when no ComfyUI is named.",
    )
    vram_gib: VramClass | None = Field(
        None,
        validation_alias=_variable("FARM_VRAM_CLASS"),
        description="VRAM class to serve (8, 12, 16, 24, 32, 48, 80, 141); default: what the card has.",
    )
    load_mode: Literal["resident", "balanced", "reserved", "streamed", "cpu"] | None = Field(
        None,
        validation_alias=_variable("FARM_LOAD_MODE"),
        description="Load mode to force: `resident`, `balanced`, `reserved`, `streamed` or `cpu`; "
        "default: the plan's own choice (`farm plan-gpu` explains it).",
    )
    models: str = Field(
        "",
        validation_alias=_variable("FARM_MODELS"),
        description="Models that the worker is meant for, with commas between: template names, or files "
        "below `models/<kind>`; default: those of the built-in template, if they are there.",
    )
    largest_clip: str = Field(
        "1280x720x81",
        pattern=r"^[1-9]\d{1,3}x[1-9]\d{1,3}x[1-9]\d{0,3}$",
        validation_alias=_variable("FARM_LARGEST_CLIP"),
        description="Largest clip usually rendered, width x height x frames: the plan makes room for it.",
    )
    canary_required: bool = Field(
        True,
        validation_alias=_variable("FARM_CANARY_REQUIRED"),
        description="Whether a ComfyUI that does not do what jobs need, as its canary found, gets no jobs; "
        "with `false` that is only told.",
    )
    strict: bool = Field(
        False,
        validation_alias=_variable("FARM_STRICT"),
        description="Whether a ComfyUI gets no jobs until its log has proven that it runs as planned.",
    )
    recycle_jobs: int = Field(
        0,
        ge=0,
        validation_alias=_variable("FARM_RECYCLE_JOBS"),
        description="Jobs after which ComfyUI is started anew; 0: never for this reason.",
    )
    recycle_rss_gib: float = Field(
        0.0,
        ge=0,
        validation_alias=_variable("FARM_RECYCLE_RSS_GIB"),
        description="Growth of ComfyUI's host memory since its first job, in GiB, after which it is started "
        "anew; 0: never for this reason.",
    )
    recycle_vram_gib: float = Field(
        2.0,
        ge=0,
        validation_alias=_variable("FARM_RECYCLE_VRAM_GIB"),
        description="VRAM that ComfyUI keeps although it was asked to free all, in GiB, after which it is "
        "started anew; 0: never for this reason.",
    )
    scratch_limit_gib: float = Field(
        50.0,
        gt=0,
        validation_alias=_variable("FARM_SCRATCH_LIMIT_GIB"),
        description="Disk that outputs and temporary files may take, in GiB; beyond it the oldest leftovers "
        "go first.",
    )
    data_dir: Path = Field(
        Path(".farm/worker"),
        validation_alias=_variable("FARM_WORKER_DIR"),
        description="Folder for outputs, temporary files, the input cache and logs of this worker.",
    )
    start_timeout_s: float = Field(
        300.0,
        gt=0,
        validation_alias=_variable("FARM_START_TIMEOUT_S"),
        description="Seconds that ComfyUI has to become ready.",
    )
    freeze_timeout_s: float = Field(
        60.0,
        gt=0,
        validation_alias=_variable("FARM_FREEZE_TIMEOUT_S"),
        description="Seconds without any answer of ComfyUI after which it counts as frozen and is restarted.",
    )
    cancel_grace_s: float = Field(
        30.0,
        ge=0,
        validation_alias=_variable("FARM_CANCEL_GRACE_S"),
        description="Seconds that an interrupted node has to yield before ComfyUI is killed.",
    )
    drain_grace_s: float = Field(
        20.0,
        ge=0,
        validation_alias=_variable("FARM_DRAIN_GRACE_S"),
        description="Seconds that a running job has to end after SIGTERM before it is given back.",
    )
    probe_after_s: float = Field(
        15.0,
        gt=0,
        validation_alias=_variable("FARM_PROBE_AFTER_S"),
        description="Seconds until a worker that took itself out of service is probed; doubled each time.",
    )
    spot: Literal["aws", "gcp", "azure", "command"] | None = Field(
        None,
        validation_alias=_variable("FARM_SPOT"),
        description="Who tells that this machine will be taken away: aws, gcp, azure or command.",
    )
    spot_command: str | None = Field(
        None,
        validation_alias=_variable("FARM_SPOT_COMMAND"),
        description="Shell command for FARM_SPOT=command; exit code 0 means that the machine goes.",
    )
    spot_url: str | None = Field(
        None,
        validation_alias=_variable("FARM_SPOT_URL"),
        description="Address of the metadata service, if it is not the cloud's own.",
    )
    ws_reconnect_attempts: int = Field(
        5,
        ge=0,
        validation_alias=_variable("WEBSOCKET_RECONNECT_ATTEMPTS"),
        description="Tries to reach ComfyUI's websocket again before polling alone goes on.",
    )
    ws_reconnect_delay_s: float = Field(
        3.0,
        ge=0,
        validation_alias=_variable("WEBSOCKET_RECONNECT_DELAY_S"),
        description="Longest pause between two such tries, in seconds.",
    )
    allow_private_urls: bool = Field(
        False,
        validation_alias=_variable("FARM_ALLOW_PRIVATE_URLS"),
        description="Whether inputs may come from private, loopback and link-local addresses.",
    )
    input_proxy: SecretStr | None = Field(
        None,
        validation_alias=_variable("FARM_INPUT_PROXY"),
        description="Proxy for inputs from the internet: `http://[user:password@]host[:port]`. It takes "
        "CONNECT, and gets addresses that the worker has resolved and judged. Empty: none. "
        "`HTTP_PROXY` and its kin do not count here.",
    )
    input_folders: str = Field(
        "",
        validation_alias=_variable("FARM_INPUT_FOLDERS"),
        description="Folders of the worker's machine, with colons between, from which `file:` inputs are "
        "taken (a shared disk); empty: none. Whoever may submit jobs can read the media files in them.",
    )
    inputs_time_s: float = Field(
        600.0,
        gt=0,
        validation_alias=_variable("FARM_INPUTS_TIME_S"),
        description="Seconds within which all input files of a job have to be fetched.",
    )
    input_limit_mib: int = Field(
        2048,
        ge=1,
        validation_alias=_variable("FARM_INPUT_LIMIT_MIB"),
        description="Largest input file, in MiB.",
    )
    input_cache_mib: int = Field(
        20480,
        ge=1,
        validation_alias=_variable("FARM_INPUT_CACHE_MIB"),
        description="Size of the input cache, in MiB; the least recently used file goes first.",
    )
    publish_slots: int = Field(
        3,
        ge=1,
        validation_alias=_variable("FARM_PUBLISH_SLOTS"),
        description="Jobs whose upload may overlap with the next render.",
    )
    publish_patience_s: float = Field(
        60.0,
        ge=0,
        validation_alias=_variable("FARM_PUBLISH_PATIENCE_S"),
        description="Seconds for which an attempt tries again to store its files while S3 takes none; then "
        "they wait on the worker's disk, and its GPU goes on.",
    )
    retained_limit_gib: float = Field(
        20.0,
        ge=0,
        validation_alias=_variable("FARM_RETAINED_LIMIT_GIB", "FARM_KEPT_LIMIT_GIB"),
        description="Disk for finished files that wait for S3, in GiB; when half of it is taken the worker "
        "fetches no more until they are stored.",
    )
    hold_s: float = Field(
        3600.0,
        ge=0,
        validation_alias=_variable("FARM_HOLD_S"),
        description="Seconds for which a job whose finished files wait on a worker is kept from others, "
        "which would render it again.",
    )
    prompt_metadata: bool = Field(
        False,
        validation_alias=_variable("FARM_PROMPT_METADATA"),
        description="Whether a job may keep the graph, with its prompt, in its files (`keep_metadata`); else "
        "it is taken out of all of them. A job's manifest has it anyway.",
    )
    previews: bool = Field(
        False,
        validation_alias=_variable("FARM_PREVIEWS"),
        description="Whether preview pictures go into the event stream.",
    )


class GateSettings(FromEnvironment):
    """What is let in: read by producers and, which counts, by workers."""

    allowed_nodes: str = Field(
        "",
        validation_alias=_variable("FARM_ALLOWED_NODES"),
        description="Node classes that graphs may use, with commas between, `*` for any letters "
        "(`WanVideo*`); empty: all that are installed.",
    )


class LogSettings(FromEnvironment):
    """How the farm's processes log."""

    level: str = Field(
        "INFO",
        pattern=r"(?i)^(debug|info|warning|error|critical)$",
        validation_alias=_variable("FARM_LOG_LEVEL"),
        description="Least level that is logged: DEBUG, INFO, WARNING, ERROR.",
    )
    form: Literal["text", "json"] = Field(
        "text",
        validation_alias=_variable("FARM_LOG_FORMAT"),
        description="`text` for people, `json` for a collector.",
    )


class TemplateSettings(FromEnvironment):
    """Templates of your own."""

    folder: Path | None = Field(
        None,
        validation_alias=_variable("FARM_TEMPLATES_DIR"),
        description="Folder in which `farm templates NAME --save FILE` keeps graphs, and finds them; "
        "default: `templates` in the local stack's folder (`.farm`, here or above).",
    )


class GatewaySettings(FromEnvironment):
    """What the doors of `farm gateway` let in, and how much of it."""

    content: Literal["redirect", "bytes"] = Field(
        "redirect",
        validation_alias=_variable("FARM_GATEWAY_CONTENT"),
        description="How a file is given out: by a `redirect` to a presigned link, or its `bytes` through "
        "the gateway, where clients do not reach S3.",
    )
    origins: str = Field(
        "",
        validation_alias=_variable("FARM_GATEWAY_ORIGINS"),
        description="Origins of web pages that may call the gateway from a browser, with commas between "
        "(`https://studio.example`); empty: its own page alone.",
    )
    upload_mib: int = Field(
        256,
        ge=1,
        validation_alias=_variable("FARM_GATEWAY_UPLOAD_MIB"),
        description="Largest upload, in MiB.",
    )
    idle_s: float = Field(
        30.0,
        gt=0,
        validation_alias=_variable("FARM_GATEWAY_IDLE_S"),
        description="Seconds without a byte after which a client that sends or reads no more is cut off.",
    )
    requests_per_s: float = Field(
        50.0,
        gt=0,
        validation_alias=_variable("FARM_GATEWAY_REQUESTS_PER_S"),
        description="Requests a second that one key may make, over all gateways; four seconds' worth may "
        "come at once.",
    )
    open_jobs: int = Field(
        1000,
        ge=1,
        validation_alias=_variable("FARM_GATEWAY_OPEN_JOBS"),
        description="Jobs of one tenant that may wait or run at a time; more are refused until some end.",
    )
    waiting_jobs: int = Field(
        100_000,
        ge=1,
        validation_alias=_variable("FARM_GATEWAY_WAITING_JOBS"),
        description="Jobs that may wait in the whole farm before the gateway takes no more.",
    )
    streams: int = Field(
        1200,
        ge=1,
        validation_alias=_variable("FARM_GATEWAY_STREAMS"),
        description="Event streams that one gateway holds open.",
    )
    tenant_streams: int = Field(
        1000,
        ge=1,
        validation_alias=_variable("FARM_GATEWAY_TENANT_STREAMS"),
        description="Those of them that one tenant may have.",
    )
    asset_days: float = Field(
        7.0,
        gt=0,
        le=28,
        validation_alias=_variable("FARM_GATEWAY_ASSET_DAYS"),
        description="Days for which an uploaded asset is kept, unless its upload says otherwise.",
    )


GROUPS: Final = (
    RedisSettings,
    StoreSettings,
    S3Settings,
    CleanSettings,
    WorkerSettings,
    GateSettings,
    LogSettings,
    TemplateSettings,
    GatewaySettings,
)


def wrong_settings() -> list[str]:
    """What cannot be read of the environment, group by group, with its variables; empty: all can."""
    found = []
    for group in GROUPS:
        try:
            group.read()
        except SettingsError as exc:
            found.append(str(exc))
    return found


def known_variables() -> set[str]:
    """Names of all variables that any group, or the command line, reads."""
    return {"FARM_DEBUG", *variables_for(*GROUPS)}


def variables_for(*groups: type[FromEnvironment]) -> set[str]:
    """Names of all variables that these groups read."""
    fields = [field for group in groups for field in group.model_fields.values()]
    files = {f"{each}{_IN_FILE}" for each in secret_variables(*groups)}
    return {*files, *(variable for field in fields for variable in variables_of(field))}


def secret_variables(*groups: type[FromEnvironment]) -> set[str]:
    """Names of those, of all groups by default, that hold a secret.

    What boto3 looks for by itself (``AWS_…``) it looks for again, and is not among them.
    """
    fields = [field for group in groups or GROUPS for field in group.model_fields.values()]
    return {variable for field in fields if _is_secret(field) for variable in variables_of(field)}


def misspelt_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that begin with ``FARM_`` and that nobody reads: most likely a typing error."""
    return sorted(
        name
        for name, value in environ.items()
        if name.startswith("FARM_") and name not in known_variables() and not is_service_link(name, value)
    )
