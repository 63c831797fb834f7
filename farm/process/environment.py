"""What a child of the farm finds in its environment: what it needs, and nothing that others left there.

Servers and ComfyUI get a list of what they need. A worker gets everything but what is known to be meant for
others: what `FARM_COMFY_VARIABLES` names, for the nodes of its ComfyUI, may be anything.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

# Of the system: where programs, libraries and folders are.
_OF_SYSTEM: Final = frozenset({"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LD_LIBRARY_PATH"})
_OF_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
# Of Python: where it finds modules, and the certificates that it trusts.
_OF_PYTHON: Final = frozenset(
    {
        *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
        *_OF_CERTIFICATES,
    }
)
# Of torch, of the libraries below it, and of where models that nodes load by name lie. No HF_TOKEN, and no
# proxies: their addresses hold passwords.
_OF_COMPUTING_PREFIXES: Final = (
    *("CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_", "NCCL_", "TORCH_", "PYTORCH_", "TORCHINDUCTOR_", "TRITON_"),
    *("OMP_", "MKL_", "OPENBLAS_", "KMP_", "NUMEXPR_", "HIP_", "ROCR_", "HSA_", "MIOPEN_", "ROCM_", "XDG_"),
)
_OF_COMPUTING: Final = frozenset(
    {
        *("LD_PRELOAD", "MALLOC_ARENA_MAX", "TMP", "TEMP"),
        *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE"),
    }
)
# What we print and read is UTF-8, whatever the terminal is set to.
_UTF8: Final = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}

# Of programs that we start too, and that take them for options.
_STRANGERS: Final = ("RCLONE_", "FLOWER_", "CELERY_", "KOMBU_", "LC_", "PYTHON")
# The same of Celery's command line. Source: celery/bin/celery.py.
_OF_CELERY: Final = frozenset(
    {"APP", "BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE", "SKIP_CHECKS", "LANG", "LANGUAGE"}
)
# What Kubernetes, and Docker's old links, tell every container of a service: where one is called farm,
# `FARM_PORT=tcp://10.0.0.7:80`.
_LINK: Final = re.compile(r"\w+_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_LINK_VALUE: Final = re.compile(r"((tcp|udp|sctp)://)?[0-9a-f.:\[\]]+|tcp|udp|sctp", re.IGNORECASE)


def for_server(environ: Mapping[str, str]) -> dict[str, str]:
    """For a program that takes all it needs from its command line or a file of ours."""
    return {name: value for name, value in environ.items() if name in _OF_SYSTEM} | {"LC_ALL": "C.UTF-8"}


def for_python(environ: Mapping[str, str], ours: Iterable[str]) -> dict[str, str]:
    """For a program of ours that starts no others.

    Args:
        ours: the variables that it reads.
    """
    kept = {*_OF_SYSTEM, *_OF_PYTHON, *ours}
    found = {
        name: value for name, value in environ.items() if name in kept and not is_service_link(name, value)
    }
    return around_proxies({**found, **_UTF8})


def for_worker(environ: Mapping[str, str]) -> dict[str, str]:
    """For a worker and for its ComfyUI: without what is meant for others."""
    found = {name: value for name, value in environ.items() if not _is_strange(name, value)}
    return around_proxies({**found, **_UTF8})


def for_comfyui(environ: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """For ComfyUI, whose custom nodes are other people's code: what it computes by, and no secret.

    Args:
        more: what the operator's own nodes need besides.
    """
    wanted = {*_OF_SYSTEM, *_OF_CERTIFICATES, *_OF_COMPUTING, *more}
    found = {
        name: value
        for name, value in for_worker(environ).items()
        if name in wanted or name.startswith(_OF_COMPUTING_PREFIXES)
    }
    return {**found, **_UTF8}


def around_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The same, with loopback taken out of the proxies that it names."""
    if not any(name.lower().endswith("_proxy") and value for name, value in environ.items()):
        return dict(environ)
    said = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    names = [name.strip() for name in said.split(",") if name.strip()]
    text = ",".join(dict.fromkeys([*names, *LOOPBACK]))
    return {**environ, "no_proxy": text, "NO_PROXY": text}


def is_service_link(name: str, value: str) -> bool:
    """Whether it tells where a service of Kubernetes is, and is no setting."""
    return _LINK.fullmatch(name) is not None and _LINK_VALUE.fullmatch(value) is not None


def is_loopback(host: str) -> bool:
    """Whether that host is this machine."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def without_login(url: str) -> str:
    """An address that may be shown."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().removeprefix("//")


def _is_strange(name: str, value: str) -> bool:
    if name in _OF_PYTHON:
        return False
    return name in _OF_CELERY or name.startswith(_STRANGERS) or is_service_link(name, value)
