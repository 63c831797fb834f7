"""The command line: ComfyUI's flags of the chosen generation, and a few of the emulator's own.

Which flags a ComfyUI takes differs from version to version, and launchers ask `--help` for it. So the flags
are data (``flags-<generation>.json``), and the help has the form that argparse gives both.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from comfy.emulator.faults import BadFaultError, read_faults
from comfy.emulator.folders import ServerFolders
from comfy.emulator.future import read_future
from comfy.emulator.loading import LoadMode
from comfy.emulator.schedule import Caching
from comfy.emulator.stats import ram_bytes
from comfy.emulator.world import Gpu, Settings
from comfy.generations import GENERATIONS, NEWEST, Generation

# What the built-in templates name: each of them can be tried on the emulator as it is.
DEFAULT_MODELS: Final = (
    "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",
    "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors",
    "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
    "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors",
    "wan2.2_ti2v_5B_fp16.safetensors",
    "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    "wan_2.1_vae.safetensors",
    "wan2.2_vae.safetensors",
    "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors",
    "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors",
    "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
    "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
    "wan2.1_t2v_1.3B_fp16.safetensors",
    "wan2.1_t2v_14B_fp8_scaled.safetensors",
    "wan2.1_i2v_480p_14B_fp16.safetensors",
    "clip_vision_h.safetensors",
    "lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors",
    "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors",
    "Wan2_2-I2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors",
    "Wan2_2-I2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors",
    "umt5-xxl-enc-bf16.safetensors",
    "Wan2_1_VAE_bf16.safetensors",
)
_DEFAULT_GPU: Final = Gpu(name="NVIDIA GeForce RTX 4090", vram_mib=24080)
_NARGS: Final = {"one": None, "optional": "?", "some": "+", "any": "*"}
_TYPES: Final = {"int": int, "float": float}
_VRAM_STATES: Final = {
    "cpu": "DISABLED",
    "novram": "NO_VRAM",
    "lowvram": "LOW_VRAM",
    "highvram": "HIGH_VRAM",
    "gpu_only": "HIGH_VRAM",
}
_ATTENTION: Final = {
    "use_pytorch_cross_attention": "Using pytorch attention",
    "use_sage_attention": "Using sage attention",
    "use_flash_attention": "Using Flash Attention",
    "use_split_cross_attention": "Using split optimization for attention",
    "use_quad_cross_attention": (
        "Using sub quadratic optimization for attention, if you have memory or speed issues try using: "
        "--use-split-cross-attention"
    ),
}


def parse(argv: Sequence[str]) -> Settings:
    """Read the command line; exits with 2 and a word of help when it is wrong, as ComfyUI does."""
    parser = build_parser(_generation_of(argv))
    given = parser.parse_args(argv)
    try:
        return _settings(given, argv)
    except (BadFaultError, ValueError, OSError) as exc:
        parser.error(str(exc))


def _generation_of(argv: Sequence[str]) -> Generation:
    """The generation decides which other flags there are, so it is looked for first."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_generation(first)
    return Generation.named(first.parse_known_args(argv)[0].generation)


def _add_generation(target: Any) -> None:
    target.add_argument(
        "--generation",
        choices=[generation.version for generation in GENERATIONS],
        default=NEWEST.version,
        help="the release of ComfyUI to behave like",
    )


def build_parser(generation: Generation) -> argparse.ArgumentParser:
    """The parser with the flags of one generation."""
    parser = argparse.ArgumentParser(
        prog="python -m comfy.emulator",
        description="A stand-in for ComfyUI: it draws clips, it runs no model.",
    )
    text = (Path(__file__).parent / f"flags-{generation.version}.json").read_text(encoding="utf-8")
    groups: dict[int, Any] = {}
    for flag in json.loads(text):
        target: Any = parser
        if "group" in flag:
            target = groups.setdefault(flag["group"], None) or parser.add_mutually_exclusive_group()
            groups[flag["group"]] = target
        _add_flag(target, flag)
    parser.set_defaults(port=8188, listen="127.0.0.1")
    _add_own(parser.add_argument_group("emulator"))
    return parser


def _add_flag(target: Any, flag: dict[str, Any]) -> None:
    if "takes" not in flag:
        target.add_argument(flag["flag"], action="store_true", help="as in ComfyUI")
        return
    options: dict[str, Any] = {"nargs": _NARGS[flag["takes"]], "help": "as in ComfyUI"}
    if flag["takes"] == "optional":
        options["const"] = _const(flag)
    if "type" in flag:
        options["type"] = _TYPES[flag["type"]]
    options |= {key: flag[key] for key in ("metavar", "choices") if key in flag}
    target.add_argument(flag["flag"], **options)


def _const(flag: dict[str, Any]) -> Any:
    """What a flag means that is given without the value it may have."""
    if flag["flag"] == "--listen":
        return "0.0.0.0,::"  # every interface, as in ComfyUI
    if "choices" in flag:
        return flag["choices"][0]
    return 0 if "type" in flag else ""


def _add_own(group: Any) -> None:
    _add_generation(group)
    group.add_argument("--gpu", metavar="NAME,VRAM_MIB", help="the card that /system_stats pretends")
    group.add_argument("--load-mode", choices=[mode.value for mode in LoadMode], help="how models are held")
    group.add_argument("--step-seconds", type=float, default=0.05, help="what a sampler's step takes")
    group.add_argument(
        "--clip-mib", type=int, default=0, metavar="MIB", help="pad clips of SaveVideo to so many MiB"
    )
    group.add_argument("--load-seconds", type=float, default=0.05, help="what loading a model takes")
    group.add_argument(
        "--models", nargs="*", default=list(DEFAULT_MODELS), metavar="FILE",
        help="model files to pretend; 'loras/x.safetensors' names the folder",
    )  # fmt: skip
    group.add_argument("--ram-gib", type=float, metavar="GIB", help="RAM to pretend, all of it free")
    group.add_argument("--object-info", type=Path, metavar="FILE", help="more nodes: an /object_info body")
    group.add_argument(
        "--record", type=Path, metavar="FILE", help="write what runs to this file as JSON lines"
    )
    group.add_argument(
        "--future",
        nargs="*",
        default=[],
        metavar="WAY",
        help="how to differ from all that is known, see future.py",
    )
    group.add_argument("--faults", default="[]", metavar="JSON", help="what shall go wrong, see faults.py")


def _settings(given: argparse.Namespace, argv: Sequence[str]) -> Settings:
    gpu = None if given.cpu else _gpu(given.gpu)
    vram = next((state for name, state in _VRAM_STATES.items() if getattr(given, name, False)), "NORMAL_VRAM")
    attention = next((line for name, line in _ATTENTION.items() if getattr(given, name, False)), None)
    faults = json.loads(given.faults)
    return Settings(
        host=given.listen.split(",")[0],
        port=given.port,
        generation=Generation.named(given.generation),
        folders=_folders(given),
        gpu=gpu,
        load_mode=_load_mode(given),
        step_s=given.step_seconds,
        load_s=given.load_seconds,
        clip_bytes=given.clip_mib << 20,
        previews=given.preview_method not in {None, "none"},
        write_metadata=not given.disable_metadata,
        caching=_caching(given),
        vram_state=vram,
        attention=attention
        or (_ATTENTION["use_quad_cross_attention"] if gpu is None else "Using pytorch attention"),
        log_to_stdout=given.log_stdout,
        pretended_models=tuple(given.models),
        extra_definitions=given.object_info,
        record_file=given.record,
        faults=tuple(read_faults(faults)),
        argv=("main.py", *argv),
        future=read_future(given.future),
    )


def _gpu(text: str | None) -> Gpu:
    if text is None:
        return _DEFAULT_GPU
    name, comma, vram = text.rpartition(",")
    if not comma or not vram.strip().isdecimal():
        raise ValueError(f"--gpu: NAME,VRAM_MIB expected, not {text!r}")
    return Gpu(name=name.strip(), vram_mib=int(vram))


def _load_mode(given: argparse.Namespace) -> LoadMode:
    if given.load_mode is not None:
        return LoadMode(given.load_mode)
    if given.cpu:
        return LoadMode.CPU
    if given.novram:
        return LoadMode.NOVRAM
    is_fixed = given.highvram or given.gpu_only or getattr(given, "disable_dynamic_vram", False)
    loads_dynamically = Generation.named(given.generation).loads_dynamically and not is_fixed
    return LoadMode.DYNAMIC if loads_dynamically else LoadMode.RESIDENT


def _caching(given: argparse.Namespace) -> Caching:
    """What is kept for later prompts; by RAM pressure all results, as long as enough of it is free.

    Source: ComfyUI ``main.py``, ``prompt_worker``: by default all RAM is to be free, or 128 GB of more.
    """
    if given.cache_none:
        return Caching.NOTHING
    is_classic = given.cache_classic or given.cache_lru is not None or getattr(given, "high_ram", False)
    if is_classic or not Generation.named(given.generation).keeps_results_while_memory_lasts:
        return Caching.LAST_PROMPT
    total, free = ram_bytes() if given.ram_gib is None else (given.ram_gib * 2**30,) * 2
    limits = given.cache_ram or []
    least = limits[1] * 2**30 if len(limits) > 1 else min(total, 128 * 2**30)
    return Caching.ALL_PROMPTS if free >= least else Caching.LAST_PROMPT


def _folders(given: argparse.Namespace) -> ServerFolders:
    base = Path(given.base_directory or ".").absolute()

    def folder(wanted: str | None, name: str) -> Path:
        return Path(wanted).absolute() if wanted is not None else base / name

    temp = Path(given.temp_directory).absolute() / "temp" if given.temp_directory else base / "temp"
    return ServerFolders(
        base=base,
        output=folder(given.output_directory, "output"),
        temp=temp,
        input=folder(given.input_directory, "input"),
        user=folder(given.user_directory, "user"),
    )
