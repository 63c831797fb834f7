"""Lines of ComfyUI itself.

Source: its main.py, nodes.py, execution.py, comfy/ and app/ of the releases that are named.
"""

from __future__ import annotations

import re
from typing import Final

from comfy.log.facts import (
    AttentionFact,
    AttentionFailedFact,
    CacheFact,
    CancelFact,
    CodeFact,
    ComplaintFact,
    DatabaseFact,
    DeviceFact,
    DiskPolicyFact,
    DynamicVramFact,
    ErrorFact,
    EvictedFact,
    FrameFact,
    HostMemoryFact,
    ImportFailedFact,
    InterruptedFact,
    LeakFact,
    LoadState,
    LogFact,
    LoraKeyFact,
    LoraResizeFact,
    MemoryFact,
    MemorySummaryFact,
    ModelLoadedFact,
    ModelRequestedFact,
    ModuleOnCardFact,
    NodeFailedFact,
    OffloadingFact,
    OutOfMemoryFact,
    PackageFact,
    PinnedMemoryFact,
    PromptDoneFact,
    PromptQueuedFact,
    PromptRefusedFact,
    QuantisedOpsFact,
    RamLimitFact,
    ReadyFact,
    ReportFact,
    ResidencyFact,
    SlowKernelsFact,
    SmartMemoryOffFact,
    StartFrameFact,
    StartingFact,
    StepsSkippedFact,
    TextEncoderFact,
    UnloadedFact,
    VaeFact,
    VaeRetryFact,
    VersionFact,
    VramStateFact,
    WeightsFact,
)
from comfy.log.form import COUNT, NUMBER, Printer, form

# How a traceback's last line begins: built-in errors, and modules of which all errors are theirs.
_ERRORS: Final = (
    "ZeroDivisionError", "RuntimeError", "ValueError", "TypeError", "KeyError", "AttributeError",
    "IndexError", "NameError", "FileNotFoundError", "OSError", "ImportError", "ModuleNotFoundError",
    "NotImplementedError", "AssertionError", "MemoryError", "PermissionError", "UnboundLocalError",
    "RecursionError", "Exception", "BrokenPipeError", "ConnectionError", "TimeoutError", "UnicodeDecodeError",
    "EOFError", "SystemError", "OverflowError", "FloatingPointError", "FileExistsError", "IsADirectoryError",
    "NotADirectoryError", "StopIteration",
)  # fmt: skip
_MODULES: Final = (
    "torch.", "torch._dynamo.", "safetensors_rust.", "subprocess.", "json.decoder.", "requests.exceptions.",
    "huggingface_hub.", "numpy.", "urllib.error.", "triton.", "av.error.", "PIL.", "_pickle.", "zipfile.",
    "einops.",
)  # fmt: skip
# The report is Markdown; what is copied off a rendered page has lost its marks.
_BOLD: Final = r"(?:\*\*)?"
# Source: execution.py, validate_prompt.
_NOT_PASSED: Final = ("Cannot execute because ", "Prompt outputs failed validation", "Prompt has no outputs")


def _reported(message: str) -> NodeFailedFact | PromptRefusedFact:
    if message.startswith(_NOT_PASSED):
        return PromptRefusedFact(message=_shown(message.strip()))
    return NodeFailedFact(message=message)


_UNLIMITED_MIB: Final = 1e12  # older versions print 9.5367431640625e+25 for "no limit"


def _loaded(found: re.Match[str]) -> LogFact:
    return ModelLoadedFact(
        state=LoadState.COMPLETE, usable_mib=_mib(found["usable"]), loaded_mib=_mib(found["loaded"])
    )


def _partial(found: re.Match[str]) -> LogFact:
    return ModelLoadedFact(
        state=LoadState.PARTIAL,
        usable_mib=_mib(found["usable"]),
        loaded_mib=_mib(found["loaded"]),
        offloaded_mib=_mib(found.groupdict().get("offloaded")),
        patches=_count(found["patches"]),
    )


def _dynamic(found: re.Match[str]) -> LogFact:
    return ModelLoadedFact(
        state=LoadState.DYNAMIC,
        model_class=found["model"],
        patches=_count(found["patches"]),
        staged_mib=_mib(found["staged"]),
    )


def _count(text: str | None) -> int | None:
    return int(text) if text is not None else None


def _prompt_done(found: re.Match[str]) -> LogFact:
    if found["seconds"] is not None:
        return PromptDoneFact(seconds=float(found["seconds"]))
    hours, minutes, seconds = (int(part) for part in found["clock"].split(":"))
    return PromptDoneFact(seconds=hours * 3600.0 + minutes * 60 + seconds)


def _mib(text: str | None) -> float | None:
    if text is None:
        return None
    value = float(text)
    return None if value > _UNLIMITED_MIB else value


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(sorted(name.strip() for name in (text or "").split(",") if name.strip()))


def _shown(text: str) -> str:
    return text.strip()[:300]


AT_START: Final = (
    form(
        "starting", "a start begins", ("** ComfyUI startup time: ", "** ComfyUI start up time: "), "",
        lambda _: StartingFact(),
        "** ComfyUI startup time: 2026-11-30 04:36:00", "** ComfyUI start up time: 2026-11-30 04:36:00",
        by=Printer.MANAGER,
    ),
    form(
        "version", "ComfyUI's version", "ComfyUI version: ", r"(\S+)",
        lambda m: VersionFact(version=m[1]),
        "ComfyUI version: 0.3.64",
    ),
    form(
        "torch-version", "torch's version", "pytorch version: ", r"(\S+)",
        lambda m: PackageFact(name="pytorch", version=m[1]),
        "pytorch version: 2.9.1+cu128",
    ),
    form(
        "python-version", "Python's version", "Python version: ", r"(\S+)",
        lambda m: PackageFact(name="python", version=m[1]),
        "Python version: 3.12.3 (main, Feb  4 2025, 14:48:35) [GCC 13.3.0]",
    ),
    form(
        "frontend-version", "the editor's version", "ComfyUI frontend version: ", r"(\S+)",
        lambda m: PackageFact(name="comfyui-frontend-package", version=m[1]),
        "ComfyUI frontend version: 1.27.10", until="0.21",
    ),
    form(
        "package-version", "versions of its packages", ("comfy-", "comfyui-"), r"[\w-]+ version: (\S+)",
        lambda m: PackageFact(name=m[0].split(" ")[0], version=m[1]),
        "comfy-aimdo version: 0.4.13", "comfyui-frontend-package version: 1.49.6", since="0.22",
    ),
    form(
        "memory", "what it sees of the machine", "Total VRAM ", rf"({NUMBER}) MB, total RAM ({NUMBER}) MB",
        lambda m: MemoryFact(vram_mib=float(m[1]), ram_mib=float(m[2])),
        "Total VRAM 24080 MB, total RAM 64000 MB",
    ),
    form(
        "ram-limit", "the container's limit is below the host's memory", "RAM limited by cgroup to ",
        rf"({NUMBER}) MB",
        lambda m: RamLimitFact(limit_mib=float(m[1])),
        "RAM limited by cgroup to 40960 MB (host has 63985 MB)", since="0.35",
    ),
    form(
        "vram-state", "NORMAL_VRAM unless a flag was given; DISABLED: the CPU computes",
        "Set vram state to: ", r"(\w+(?: VRAM)?)",
        lambda m: VramStateFact(state=m[1].replace(" ", "_")),
        "Set vram state to: NORMAL_VRAM", "Set vram state to: LOW VRAM",
    ),
    form(
        "device", "what it computes on", ("Device: ", "Using device: "), r"(.+?)\s*$",
        lambda m: DeviceFact(device=m[1]),
        "Device: cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync",
        "Using device: CUDA 0: NVIDIA GeForce RTX 3090",
    ),
    # "… in VAE" is another choice and says nothing of the sampler's.
    form(
        "attention", "the attention of the whole process", "Using ",
        r"(pytorch|sage|xformers|Flash) (?:cross )?[Aa]ttention\s*$",
        lambda m: AttentionFact(name=m[1].lower()),
        "Using pytorch attention", "Using xformers cross attention",
    ),
    form(
        "kitchen-attention", "the attention of the whole process", "Using ",
        r"(Comfy Kitchen) attention\s*$",
        lambda m: AttentionFact(name=m[1].lower()),
        "Using Comfy Kitchen attention", since="0.32",
    ),
    form(
        "slow-attention", "the slow attention for machines without another", "Using ",
        r"(split|sub quadratic) optimization for (?:cross )?attention",
        lambda m: AttentionFact(name=m[1]),
        "Using split optimization for attention", "Using sub quadratic optimization for cross attention, if",
    ),
    form(
        "dynamic-vram", "weights come as they are needed",
        "DynamicVRAM support detected and enabled", "",
        lambda _: DynamicVramFact(enabled=True),
        "DynamicVRAM support detected and enabled", since="0.12",
    ),
    form(
        "no-aimdo", "dynamic VRAM is off", "No working comfy-aimdo install detected", "",
        lambda _: DynamicVramFact(enabled=False, why="comfy-aimdo is missing or does not work"),
        "No working comfy-aimdo install detected. DynamicVRAM support disabled.", since="0.12",
    ),
    form(
        "aimdo-failed", "dynamic VRAM is off", "comfy-aimdo failed to load: ", "",
        lambda _: DynamicVramFact(enabled=False, why="comfy-aimdo is missing or does not work"),
        "comfy-aimdo failed to load: Could not find module 'aimdo.dll' (or one of its dependencies).",
        by=Printer.AIMDO,
    ),
    form(
        "old-torch", "dynamic VRAM is off",
        "Unsupported Pytorch detected. DynamicVRAM support requires", "",
        lambda _: DynamicVramFact(enabled=False, why="torch is older than 2.8"),
        "Unsupported Pytorch detected. DynamicVRAM support requires Pytorch version 2.8 or later.",
        since="0.16",
    ),
    form(
        "dynamic-vram-off", "dynamic VRAM is off", "Dynamic vram disabled with argument", "",
        lambda _: DynamicVramFact(enabled=False, why="an argument switches it off"),
        "Dynamic vram disabled with argument. If you have any issues with dynamic vram enabled please",
        since="0.19",
    ),
    form(
        "streams", "weights that stream do so beside the computing", "Using async weight offloading with ",
        rf"({COUNT}) streams",
        lambda m: OffloadingFact(streams=int(m[1])),
        "Using async weight offloading with 2 streams",
    ),
    form(
        "pinned-memory", "host memory that may be pinned, in MB", "Enabled pinned memory ", rf"({NUMBER})",
        lambda m: PinnedMemoryFact(limit_mib=float(m[1])),
        "Enabled pinned memory 57344", since="0.3.69",
    ),
    form(
        "cache-lru", "results of so many prompts are kept", "Using LRU cache", "",
        lambda _: CacheFact(name="lru"),
        "Using LRU cache",
    ),
    form(
        "cache-ram", "results are kept while memory lasts", "Using RAM pressure cache", "",
        lambda _: CacheFact(name="ram pressure"),
        "Using RAM pressure cache.", since="0.12",
    ),
    form(
        "cache-none", "every prompt reads all models again", "Disabling intermediate node cache", "",
        lambda _: CacheFact(name="none"),
        "Disabling intermediate node cache.",
    ),
    form(
        "smart-memory-off", "models leave the card after each use", "Disabling smart memory management", "",
        lambda _: SmartMemoryOffFact(),
        "Disabling smart memory management",
    ),
    form(
        "slow-kernels", "torch is too old for the fast kernels of quantised weights",
        "WARNING: You need pytorch with cu130 or higher to use optimized CUDA operations", "",
        lambda _: SlowKernelsFact(),
        "WARNING: You need pytorch with cu130 or higher to use optimized CUDA operations.", since="0.12",
    ),
    form(
        "database", "its database cannot be used; it goes on without", "Failed to initialize database",
        r"[.:]\s*(.*)",
        lambda m: DatabaseFact(reason=m[1]),
        "Failed to initialize database. Please ensure you have installed the latest requirements.",
    ),
    form(
        "import-failed", "a custom node is missing", "Cannot import ",
        r"(.+?) (?:module for custom nodes|node)[:.] ?(.*)",
        lambda m: ImportFailedFact(what=_shown(f"{m[1]}: {m[2]}")),
        "Cannot import /comfyui/custom_nodes/ComfyUI-GGUF module for custom nodes: No module named 'gguf'",
    ),
    form(
        "import-dialog", "a custom node is missing, as the window of the editor's manager says",
        "while importing the '", r"([^']+)' module\.?\s*$",
        lambda m: ImportFailedFact(what=_shown(m[1])),
        "while importing the 'ComfyUI-WanVideoWrapper' module.", by=Printer.EDITOR,
    ),
    form(
        "import-times", "a custom node is missing, told once more among the times of all", "",
        r"\d+\.\d seconds \(IMPORT FAILED\): (.*)",
        lambda m: ImportFailedFact(what=_shown(m[1])),
        "0.3 seconds (IMPORT FAILED): /comfyui/custom_nodes/ComfyUI-GGUF",
    ),
    form(
        "ready", "it listens", "To see the GUI go to: ", "",
        lambda _: ReadyFact(),
        "To see the GUI go to: http://127.0.0.1:8188",
    ),
)  # fmt: skip

OF_A_PROMPT: Final = (
    form(
        # A node may print what is in it, too: "got prompt: {…".
        "queued", "a prompt was taken into the queue; it may start much later", "got prompt", r"(?!:)",
        lambda _: PromptQueuedFact(),
        "got prompt",
    ),
    form(
        "refused", "a prompt did not pass the check", "invalid prompt: ",
        r"(?:.*?'message': (['\"])(?P<message>.*?)\1[,}])?",
        lambda m: PromptRefusedFact(message=_shown(m["message"] or "")),
        "invalid prompt: {'type': 'prompt_outputs_failed_validation', 'message': 'Prompt outputs failed'}",
    ),
    form(
        "complaint", "what of a prompt did not pass the check",
        ("- Value ", "- Required input is missing", "- Custom validation failed for node",
         "- Failed to convert an input value to a ", "- Return type mismatch between linked nodes",
         "- Bad linked input, must be a length-2 list", "- Exception when validating ",
         "- Dependency cycle detected"),
        r"(?P<more>.*?): (?P<details>.*)",
        lambda m: ComplaintFact(message=_shown(m.string[2:m.end("more")]), details=_shown(m["details"])),
        "- Value not in list: unet_name: 'wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors' not in []",
        "- Value 0 smaller than min of 1: steps",
        "- Required input is missing: clip",
        "- Custom validation failed for node: image - Invalid image file: start.png",
        "- Failed to convert an input value to a FLOAT value: cfg, much, could not convert string to float",
        "- Return type mismatch between linked nodes: vae, received_type(CLIP) mismatch input_type(VAE)",
        "- Bad linked input, must be a length-2 list of [node_id, slot_index]: model",
        "- Exception when validating inner node: '4'",
        "- Dependency cycle detected: 3 -> 4 -> 3",
    ),
    form(
        "weights", "a diffusion model was read from disk; a manual cast to its own type costs nothing",
        "model weight dtype ", r"([^\s,]+)(?:, manual cast: (\S+))?",
        lambda m: WeightsFact(dtype=m[1], cast_to=None if m[2] == "None" else m[2]),
        "model weight dtype torch.float8_e4m3fn, manual cast: torch.float16",
    ),
    form(
        "native-ops", "which quantised formats compute natively here", "Native ops: ",
        r"(?P<native>[\w, ]*?)(?:\s*, emulated ops: (?P<emulated>.*))?\s*$",
        lambda m: QuantisedOpsFact(native=_names(m["native"]), emulated=_names(m["emulated"])),
        "Native ops: float8_e4m3fn, mxfp8 , emulated ops: nvfp4", since="0.22",
    ),
    form(
        "text-encoder", "a text encoder was read from disk",
        ("CLIP/text encoder model load device: ", "CLIP model load device: "),
        r"([^,\s]+)(?:, offload device: [^,]+)?(?:, current: [^,]+)?(?:, dtype: (\S+))?",
        lambda m: TextEncoderFact(device=m[1], dtype=m[2] or ""),
        "CLIP/text encoder model load device: cpu, offload device: cpu, current: cpu, dtype: torch.float16",
        "CLIP model load device: cuda:0, offload device: cpu, current: cpu",
    ),
    form(
        "vae", "a VAE was read from disk", "VAE load device: ",
        r"([^,\s]+)(?:, offload device: [^,]+)?(?:, dtype: (\S+))?",
        lambda m: VaeFact(device=m[1], dtype=m[2] or ""),
        "VAE load device: cuda:0, offload device: cpu, dtype: torch.bfloat16",
    ),
    form(
        "requested", "a model that is not on the card is brought there", "Requested to load ", r"(\w+)",
        lambda m: ModelRequestedFact(model_class=m[1]),
        "Requested to load WAN21",
    ),
    form(
        "complete", "a model lies on the card whole", "loaded completely;",
        rf"\s+(?:(?P<usable>{NUMBER}) MB usable, )?(?P<loaded>{NUMBER}) MB loaded",
        _loaded,
        "loaded completely; 17000.50 MB usable, 13629.00 MB loaded, full load: True",
        "loaded completely;  12.42 MB loaded, full load: True",
        "loaded completely; 95367431640625005117571072.00 MB usable, 6419.48 MB loaded, full load: True",
        since="0.3.68",
    ),
    form(
        "partial", "the rest of a model streams from host memory in each step", "loaded partially;",
        rf"\s+(?:(?P<usable>{NUMBER}) MB usable, )?(?P<loaded>{NUMBER}) MB loaded"
        rf"(?:, (?P<offloaded>{NUMBER}) MB offloaded)?(?:, .*lowvram patches: (?P<patches>{COUNT}))?",
        _partial,
        "loaded partially; 9700.00 MB usable, 9600.00 MB loaded, 4029.00 MB offloaded, "
        "135.00 MB buffer reserved, lowvram patches: 400",
        since="0.3.68",
    ),
    form(
        "complete-old", "a model lies on the card whole", "loaded completely ",
        rf"(?P<usable>{NUMBER}) (?P<loaded>{NUMBER})",
        _loaded,
        "loaded completely 9.5367431640625e+25 12.419189453125 True", "loaded completely 0.0 159.5",
        until="0.3.67",
    ),
    form(
        "partial-old", "the rest of a model streams from host memory in each step", "loaded partially ",
        rf"(?P<usable>{NUMBER})(?: (?P<loaded>{NUMBER}))? (?P<patches>{COUNT})(?!\.)",
        _partial,
        "loaded partially 9700.0 9600.5 400", "loaded partially 64.0 12", until="0.3.67",
    ),
    form(
        "partial-2024", "the rest of a model streams from host memory in each step",
        ("loading in lowvram mode ", "loaded in lowvram mode "), rf"(?P<loaded>{NUMBER})",
        lambda m: ModelLoadedFact(state=LoadState.PARTIAL, loaded_mib=_mib(m["loaded"])),
        "loading in lowvram mode 64.0", "loaded in lowvram mode 64.0", until="0.0",
    ),
    form(
        "dynamic", "a model lies in host memory; what of it is on the card is not told", "Model ",
        r"(?P<model>\w+) prepared for dynamic VRAM loading\."
        rf"(?: (?P<staged>{COUNT})MB Staged\.)?(?: (?P<patches>{COUNT}) patches attached)?",
        _dynamic,
        "Model WAN21 prepared for dynamic VRAM loading. 13629MB Staged. 400 patches attached.",
        "Model WAN21 prepared for dynamic VRAM loading. 13629MB Staged.", since="0.12",
    ),
    form(
        "residency", "what of a model is where, at level DETAIL", "Model loaded: ",
        rf"patcher=\w+ model=(\w+) ram_mb=({NUMBER}) vram_mb=({NUMBER})",
        lambda m: ResidencyFact(model_class=m[1], ram_mib=float(m[2]), vram_mib=float(m[3])),
        "Model loaded: patcher=ModelPatcher model=WAN21 ram_mb=12.4 vram_mb=0.0", since="0.30",
    ),
    form(
        "disk-policy", "whether weights are read from disk anew instead of being kept in RAM",
        "Model storage policy: fast_disk=", r"(True|False)",
        lambda m: DiskPolicyFact(fast_disk=m[1] == "True"),
        "Model storage policy: fast_disk=True paths=['/models/diffusion_models/wan2.2.safetensors']",
        since="0.38",
    ),
    form(
        "lora-resize", "a LoRA changes a layer's size, which stays on the card", "Module ",
        r"(\S+) has resizing Lora - force loading",
        lambda m: LoraResizeFact(layer=m[1]),
        "Module diffusion_model.blocks.0.ffn.0 has resizing Lora - force loading", since="0.22",
    ),
    form(
        "lora-key", "a layer of a LoRA was left out: it is for another model",
        ("lora key not loaded", "NOT LOADED ", "could not patch. key doesn't exist in model: "),
        r":? ?(.*)",
        lambda m: LoraKeyFact(key=_shown(m[1])),
        "lora key not loaded: blocks.0.self_attn.q.lora_A.weight",
        "NOT LOADED diffusion_model.blocks.0.self_attn.q.weight",
        "could not patch. key doesn't exist in model: diffusion_model.blocks.0.self_attn.q.weight",
    ),
    form(
        "lora-shape", "a layer of a LoRA was left out: it is for another model", "WARNING SHAPE MISMATCH ",
        r"(\S+) WEIGHT NOT MERGED",
        lambda m: LoraKeyFact(key=_shown(m[1])),
        "WARNING SHAPE MISMATCH diffusion_model.patch_embedding.weight WEIGHT NOT MERGED "
        "torch.Size([5120, 36, 1, 2, 2]) != torch.Size([5120, 16, 1, 2, 2])",
    ),
    form(
        "lora-error", "a layer of a LoRA was left out: it has another size", "ERROR ",
        r"(?:(?:lora|loha|lokr|glora|diff|set) |(?=\S+\.(?:weight|bias) ))(\S+) "
        r"(?!.*(?:Allocation on device|out of memory))(.+)",
        lambda m: LoraKeyFact(key=_shown(m[1])),
        "ERROR diffusion_model.out.0.weight The size of tensor a (320) must match the size of tensor b (640)",
        "ERROR lora diffusion_model.blocks.0.ffn.0.weight shape '[13824, 5120]' is invalid for size 1",
    ),
    form(
        "module-on-card", "a module was placed on the card whole, at level DEBUG: no sign of low VRAM",
        "lowvram: loaded module regularly", "",
        lambda _: ModuleOnCardFact(),
        "lowvram: loaded module regularly diffusion_model.blocks.0.ffn.0 Linear(in_features=5120)",
    ),
    form(
        "unloaded", "models had to leave the card", "", rf"({COUNT}) models unloaded\.",
        lambda m: UnloadedFact(models=int(m[1])),
        "2 models unloaded.",
    ),
    form(
        "evicted", "a part of a model had to leave the card", "Unloaded partially: ",
        rf"({NUMBER}) MB freed, ({NUMBER}) MB remains loaded",
        lambda m: EvictedFact(freed_mib=float(m[1]), remains_mib=float(m[2])),
        "Unloaded partially: 1200.00 MB freed, 8400.00 MB remains loaded, 135.00 MB buffer reserved, "
        "lowvram patches: 0",
        since="0.3.76",
    ),
    # Read in people's logs: some builds, no release that was held against it.
    form(
        "evicted-other", "a part of a model had to leave the card", "loaded partially:",
        rf" ({NUMBER}) MB loaded",
        lambda m: EvictedFact(freed_mib=None, remains_mib=float(m[1])),
        "loaded partially: 8400.00 MB loaded", since="0.38",
    ),
    form(
        "attention-failed", "this call was computed by PyTorch's attention instead",
        ("Error running sage attention: ", "Flash Attention failed, using default SDPA"), "",
        lambda m: AttentionFailedFact(name="sage" if "sage" in m[0] else "flash"),
        "Error running sage attention: SM89 kernel is not available, using pytorch attention instead.",
        "Flash Attention failed, using default SDPA: FlashAttention only supports Ampere GPUs or newer.",
    ),
    form(
        "sage3-failed", "this call was computed by PyTorch's attention instead",
        "Error running SageAttention3: ", "",
        lambda _: AttentionFailedFact(name="sage"),
        "Error running SageAttention3: no kernel image is available, falling back to pytorch attention.",
        since="0.12",
    ),
    form(
        "vae-retry", "the VAE ran out of memory and goes on in tiles: slower, seams possible",
        ("Warning: Ran out of memory when regular VAE ", "Ran out of memory when regular VAE "),
        "(decoding|encoding), retrying with tiled",
        lambda m: VaeRetryFact(decoding=m[1] == "decoding"),
        "Warning: Ran out of memory when regular VAE decoding, retrying with tiled VAE decoding.",
        "Ran out of memory when regular VAE encoding, retrying with tiled VAE encoding.",
    ),
    form(
        "step-cache", "a step cache says how many steps it has saved", ("EasyCache", "LazyCache"),
        rf" - skipped ({COUNT})/({COUNT}) steps",
        lambda m: StepsSkippedFact(cache=m[0].split(" ")[0], skipped=int(m[1]), steps=int(m[2])),
        "EasyCache - skipped 5/20 steps (1.33x speedup).", "LazyCache - skipped 0/20 steps (1.00x speedup).",
    ),
    form(
        "leak", "a model is held although nobody should need it",
        ("WARNING, memory leak with model ", "Potential memory leak detected with model "), r"(\w+)",
        lambda m: LeakFact(model_class=m[1]),
        "WARNING, memory leak with model WAN21. Please make sure it is not being referenced from somewhere.",
        "Potential memory leak detected with model WAN21, doing a full garbage collect",
    ),
    form(
        "host-buffer", "the host had no memory left for weights that wait there", "hostbuf_",
        r"(\w+.*)",
        lambda m: HostMemoryFact(message=_shown(m[0])),
        "hostbuf_read_file_slice: device copy failed result=2", since="0.36",
    ),
    form(
        "failed", "a node raised an error, which ends its prompt",
        ("!!! Exception during processing !!!", "!!! Exception during processing!!!"), r" ?(.*)",
        lambda m: NodeFailedFact(message=m[1]),
        "!!! Exception during processing !!! CUDA out of memory. Tried to allocate 20.00 GiB.",
        "!!! Exception during processing!!! HIP out of memory. Tried to allocate 288.00 MiB.",
    ),
    form(
        "frame", "where an error comes from", 'File "',
        r'[^"]*(?:(sageattention)[\\/][^"]*|[\\/]execution\.py)", line \d+, in ',
        lambda m: FrameFact(sage=m[1] is not None),
        'File "/comfyui/execution.py", line 510, in execute',
        'File "/venv/lib/python3.12/site-packages/sageattention/core.py", line 132, in sageattn',
    ),
    form(
        "code-frame", "at what a node was when its error came", 'File "',
        r'(?:[^"]*?[\\/](?P<custom>custom_nodes[\\/][^"]+\.py)'
        # Somebody's folder for all of this may be named "comfy", too.
        r'|[^"]*[\\/](?P<own>nodes\.py|comfy(?:_extras)?[\\/](?![^"]*(?:ComfyUI|-packages))[^"]+\.py))'
        r'", line \d+, in (?P<function>\S+)',
        lambda m: CodeFact(file=(m["custom"] or m["own"]).replace("\\", "/"), function=m["function"]),
        'File "/comfyui/comfy/ldm/wan/vae.py", line 412, in decode',
        'File "C:\\ComfyUI\\custom_nodes\\ComfyUI-WanVideoWrapper\\nodes_sampler.py", line 1500, in process',
    ),
    form(
        "start-frame", "an error has ended the server's start", 'File "',
        r'[^"]*[\\/]main\.py", line \d+, in <module>',
        lambda _: StartFrameFact(),
        'File "/comfyui/main.py", line 367, in <module>', by=Printer.SYSTEM,
    ),
    form(
        "error", "the last line of a traceback", _ERRORS, r"(?:: (?P<text>.*)|:?\s*$)",
        lambda m: ErrorFact(message=m["text"] or m[0].strip()),
        *(f"{name}: no more of it" for name in _ERRORS), "AssertionError",
    ),
    form(
        "error-of-a-module", "the last line of a traceback", _MODULES,
        r"[\w.]*(?:Error|Exception|Unsupported|Failed|Missing|BadZipFile)(?:: (?P<text>.*)|\s*$)",
        lambda m: ErrorFact(message=m["text"] or m[0].strip()),
        *(f"{name}SomeError: no more of it" for name in _MODULES),
    ),
    form(
        "sampling-error", "the wrapper's sampler has failed, and raises the error behind this line",
        ("Error during model prediction: ", "Error during sampling: ", "Error during inference: "), "(.*)",
        lambda m: ErrorFact(message=m[1]),
        "Error during model prediction: CUDA out of memory.", "Error during sampling: CUDA out of memory.",
        "Error during inference: Allocation on device",
        by=Printer.WRAPPER,
    ),
    form(
        "report-error", "the error that the editor's report is of", "Exception Message:", rf"{_BOLD} (.*)",
        lambda m: ReportFact(says=_reported(m[1])),
        "Exception Message:** CUDA error: no kernel image is available",
        "Exception Message:** Prompt outputs failed validation: ", by=Printer.EDITOR,
    ),
    form(
        "answer-refused", "ComfyUI's answer to a prompt that did not pass the check, as its sender prints it",
        tuple(f'"message": "{words}' for words in _NOT_PASSED), "",
        lambda m: ReportFact(says=_reported(m.string.split('"')[3])),
        '"message": "Cannot execute because node ImageResize+ does not exist.",',
        '"message": "Prompt outputs failed validation",', '"message": "Prompt has no outputs",',
        by=Printer.EDITOR,
    ),
    form(
        "report-version", "ComfyUI's version, in the editor's report", "ComfyUI Version:",
        rf"{_BOLD} (\S+)",
        lambda m: ReportFact(says=VersionFact(version=m[1])),
        "ComfyUI Version:** 0.3.64", by=Printer.EDITOR,
    ),
    form(
        "manager-version", "ComfyUI's version, as ComfyUI-Manager tells it", "### ComfyUI Version: ",
        r"v?([\d.]+)",
        lambda m: ReportFact(says=VersionFact(version=m[1])),
        "### ComfyUI Version: v0.3.26-3-gd6d4d1c | Released on '2025-03-10'", by=Printer.MANAGER,
    ),
    form(
        "report-torch", "torch's version, in the editor's report", "PyTorch Version:", rf"{_BOLD} (\S+)",
        lambda m: ReportFact(says=PackageFact(name="pytorch", version=m[1])),
        "PyTorch Version:** 2.8.0+cu129", by=Printer.EDITOR,
    ),
    form(
        "report-device", "what it computes on, in the editor's report", "Name:",
        rf"{_BOLD} ((?:cuda:\d|cpu|mps|xpu:\d)(?: .*)?)$",
        lambda m: ReportFact(says=DeviceFact(device=m[1].strip())),
        "Name:** cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync", by=Printer.EDITOR,
    ),
    form(
        "memory-summary", "torch's table of its memory begins", "Memory summary:", "",
        lambda _: MemorySummaryFact(),
        "Memory summary:", since="0.8",
    ),
    form(
        "out-of-memory", "the card had no memory left; all models were unloaded",
        "Got an OOM, unloading all loaded models", "",
        lambda _: OutOfMemoryFact(),
        "Got an OOM, unloading all loaded models.",
    ),
    form(
        "cancel", "somebody asked for the end of a prompt", "Interrupting prompt ", r"(\S+)",
        lambda m: CancelFact(prompt_id=m[1]),
        "Interrupting prompt 3f1c2a4e-0000-4000-8000-000000000000",
    ),
    form(
        "cancel-any", "somebody asked for the end of whatever runs",
        "Global interrupt (no prompt_id specified)", "",
        lambda _: CancelFact(prompt_id=None),
        "Global interrupt (no prompt_id specified)",
    ),
    form(
        "cancel-job", "somebody asked for the end of a prompt",
        ("Cancelling running prompt ", "Cancelling pending prompt "), r"(\S+)",
        lambda m: CancelFact(prompt_id=m[1]),
        "Cancelling running prompt 3f1c2a4e-0000-4000-8000-000000000000",
        "Cancelling pending prompt 3f1c2a4e-0000-4000-8000-000000000000",
        since="0.26",
    ),
    form(
        "interrupted", "a prompt stopped because somebody asked for it", "Processing interrupted", "",
        lambda _: InterruptedFact(),
        "Processing interrupted",
    ),
    form(
        "done", "a prompt is over, well or not; from 600 s on as H:M:S", "Prompt executed in ",
        rf"(?:(?P<seconds>{NUMBER}) seconds|(?P<clock>\d{{1,5}}:\d\d:\d\d)(?!\d))",
        _prompt_done,
        "Prompt executed in 3.64 seconds", "Prompt executed in 00:12:34",
    ),
)  # fmt: skip
