"""Settings of a worker.

The variables of runpod's worker-comfyui are accepted under their own names, so that an image that was set up
for it works here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from comfy.doctor.clip import Thresholds, read_thresholds
from comfy.protocol.address import ComfyAddress
from farm.job import VramClass
from farm.settings.environment import variable
from farm.settings.outside import OutsideSettings


class WorkerSettings(OutsideSettings):
    """One worker: its ComfyUI, its card, its folders."""

    @property
    def comfyui_address(self) -> ComfyAddress | None:
        """Of the ComfyUI to attach to, with what it wants to see; None: one is started.

        Raises:
            ValueError: it is no address.
        """
        if self.comfyui_url is None:
            return None
        token = self.comfyui_token.get_secret_value() if self.comfyui_token is not None else None
        try:
            return ComfyAddress.parse(self.comfyui_url.get_secret_value(), token=token)
        except ValueError as exc:
            raise ValueError(f"COMFYUI_URL: {exc}") from None

    @property
    def clip_thresholds(self) -> Thresholds:
        """When a clip is bad.

        Raises:
            ValueError: `clip_limits` cannot be read.
        """
        try:
            return read_thresholds(self.clip_limits)
        except ValueError as exc:
            raise ValueError(f"FARM_CLIP_LIMITS: {exc}") from None

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        _ = self.comfyui_address, self.clip_thresholds
        return self

    name: str | None = Field(
        None,
        validation_alias=variable("FARM_WORKER_NAME"),
        description="Name of the worker in lists and in Flower; default `gpu<index>@<host>`.",
    )
    comfyui_dir: Path | None = Field(
        None,
        validation_alias=variable("COMFYUI_DIR"),
        description="Folder of the ComfyUI to start (it holds main.py).",
    )
    comfyui_python: Path | None = Field(
        None,
        validation_alias=variable("COMFYUI_PYTHON"),
        description="Interpreter for it; default: `.venv` or `venv` inside COMFYUI_DIR, else this one.",
    )
    comfyui_base: Path | None = Field(
        None,
        validation_alias=variable("COMFYUI_BASE"),
        description="Folder with `models` and `custom_nodes` when they are not in COMFYUI_DIR.",
    )
    comfyui_args: str = Field(
        "",
        validation_alias=variable("COMFYUI_ARGS"),
        description="More arguments for ComfyUI, as on a command line.",
    )
    comfyui_url: SecretStr | None = Field(
        None,
        validation_alias=variable("COMFYUI_URL"),
        description="Attach to a ComfyUI that runs already, instead of starting one: "
        "`http://[user:password@]host:port[/path]`, or `https://`.",
    )
    comfyui_token: SecretStr | None = Field(
        None,
        validation_alias=variable("COMFYUI_TOKEN"),
        description="Token that it, or a proxy before it, wants: sent as `Authorization: Bearer`.",
    )
    comfyui_outage_s: float = Field(
        600.0,
        gt=0,
        validation_alias=variable("COMFYUI_OUTAGE_S"),
        description="Seconds for which a worker keeps its job while the ComfyUI that COMFYUI_URL names does "
        "not answer; then another worker may have it.",
    )
    comfyui_output: Path | None = Field(
        None,
        validation_alias=variable("COMFYUI_OUTPUT"),
        description="Its output folder, if COMFYUI_URL is set and the disk is shared; else /view is used.",
    )
    comfy_variables: str = Field(
        "",
        description="Variables that ComfyUI gets besides what it computes by, with commas between, such as "
        "`HF_TOKEN`: its custom nodes can read them.",
    )
    comfy_user: str = Field(
        "",
        description="Whom the ComfyUI that a worker starts runs as: `name`, `name:group` or `uid:gid`; then "
        "its custom nodes cannot read what is the worker's. The worker has to be root. Empty: as the worker.",
    )
    comfy_log_level: str = Field(
        "INFO",
        validation_alias=variable("COMFY_LOG_LEVEL"),
        description="Log level that ComfyUI is started with.",
    )
    emulator_args: str = Field(
        "",
        description="More arguments for the emulator, when no ComfyUI is named.",
    )
    vram_gib: VramClass | None = Field(
        None,
        validation_alias=variable("FARM_VRAM_CLASS"),
        description="VRAM class to serve (8, 12, 16, 24, 32, 48, 80, 141); default: what the card has.",
    )
    load_mode: Literal["resident", "balanced", "reserved", "streamed", "cpu"] | None = Field(
        None,
        description="Load mode to force: `resident`, `balanced`, `reserved`, `streamed` or `cpu`; "
        "default: the plan's own choice (`farm plan-gpu` explains it).",
    )
    models: str = Field(
        "",
        description="Models that the worker is meant for, with commas between: template names, or files "
        "below `models/<kind>`; default: those of the built-in template, if they are there.",
    )
    largest_clip: str = Field(
        "1280x720x81",
        pattern=r"^[1-9]\d{1,3}x[1-9]\d{1,3}x[1-9]\d{0,3}$",
        description="Largest clip usually rendered, width x height x frames: the plan makes room for it.",
    )
    canary_required: bool = Field(
        True,
        description="Whether a ComfyUI that does not do what jobs need, as its canary found, gets no jobs; "
        "with `false` that is only told.",
    )
    strict: bool = Field(
        False,
        description="Whether a ComfyUI gets no jobs until its log has proven that it runs as planned.",
    )
    recycle_jobs: int = Field(
        0,
        ge=0,
        description="Jobs after which ComfyUI is started anew; 0: never for this reason.",
    )
    recycle_rss_gib: float = Field(
        0.0,
        ge=0,
        description="Growth of ComfyUI's host memory since its first job, in GiB, after which it is started "
        "anew; 0: never for this reason.",
    )
    recycle_vram_gib: float = Field(
        2.0,
        ge=0,
        description="VRAM that ComfyUI keeps although it was asked to free all, in GiB, after which it is "
        "started anew; 0: never for this reason.",
    )
    scratch_limit_gib: float = Field(
        50.0,
        gt=0,
        description="Disk that outputs and temporary files may take, in GiB; beyond it the oldest leftovers "
        "go first.",
    )
    data_dir: Path = Field(
        Path(".farm/worker"),
        validation_alias=variable("FARM_WORKER_DIR"),
        description="Folder for outputs, temporary files, the input cache and logs of this worker.",
    )
    start_timeout_s: float = Field(
        300.0,
        gt=0,
        description="Seconds that ComfyUI has to become ready.",
    )
    freeze_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Seconds without any answer of ComfyUI after which it counts as frozen and is restarted.",
    )
    cancel_grace_s: float = Field(
        30.0,
        ge=0,
        description="Seconds that an interrupted node has to yield before ComfyUI is killed.",
    )
    drain_grace_s: float = Field(
        20.0,
        ge=0,
        description="Seconds that a running job has to end after SIGTERM before it is given back.",
    )
    probe_after_s: float = Field(
        15.0,
        gt=0,
        description="Seconds until a worker that took itself out of service is probed; doubled each time.",
    )
    spot: Literal["aws", "gcp", "azure", "command"] | None = Field(
        None,
        description="Who tells that this machine will be taken away: aws, gcp, azure or command.",
    )
    spot_command: str | None = Field(
        None,
        description="Shell command for FARM_SPOT=command; exit code 0 means that the machine goes.",
    )
    spot_url: str | None = Field(
        None,
        description="Address of the metadata service, if it is not the cloud's own.",
    )
    ws_reconnect_attempts: int = Field(
        5,
        ge=0,
        validation_alias=variable("WEBSOCKET_RECONNECT_ATTEMPTS"),
        description="Tries to reach ComfyUI's websocket again before polling alone goes on.",
    )
    ws_reconnect_delay_s: float = Field(
        3.0,
        ge=0,
        validation_alias=variable("WEBSOCKET_RECONNECT_DELAY_S"),
        description="Longest pause between two such tries, in seconds.",
    )
    input_folders: str = Field(
        "",
        description="Folders of the worker's machine, with colons between, from which `file:` inputs are "
        "taken (a shared disk); empty: none. Whoever may submit jobs can read the media files in them.",
    )
    inputs_time_s: float = Field(
        600.0,
        gt=0,
        description="Seconds within which all input files of a job have to be fetched.",
    )
    input_limit_mib: int = Field(
        2048,
        ge=1,
        description="Largest input file, in MiB.",
    )
    input_cache_mib: int = Field(
        20480,
        ge=1,
        description="Size of the input cache, in MiB; the least recently used file goes first.",
    )
    publish_slots: int = Field(
        3,
        ge=1,
        description="Jobs whose upload may overlap with the next render.",
    )
    publish_patience_s: float = Field(
        60.0,
        ge=0,
        description="Seconds for which an attempt tries again to store its files while S3 takes none; then "
        "they wait on the worker's disk, and its GPU goes on.",
    )
    retained_limit_gib: float = Field(
        20.0,
        ge=0,
        validation_alias=variable("FARM_RETAINED_LIMIT_GIB", "FARM_KEPT_LIMIT_GIB"),
        description="Disk for finished files that wait for S3, in GiB; when half of it is taken the worker "
        "fetches no more until they are stored.",
    )
    hold_s: float = Field(
        3600.0,
        ge=0,
        description="Seconds for which a job whose finished files wait on a worker is kept from others, "
        "which would render it again.",
    )
    clip_limits: str = Field(
        "",
        description="When a clip is bad, where that is not the usual (`doctor.md` has the thresholds), as "
        "`black_mean=4, tail=0.5`.",
    )
    prompt_metadata: bool = Field(
        False,
        description="Whether a job may keep the graph, with its prompt, in its files (`keep_metadata`); else "
        "it is taken out of all of them. A job's manifest has it anyway.",
    )
    previews: bool = Field(
        False,
        description="Whether preview pictures go into the event stream.",
    )
