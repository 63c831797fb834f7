"""What an error tells: at what the prompt was, by its traceback, and what helps, by its words.

Two tables, `_PLACES` and `_CAUSES`. What neither knows is said to be unknown, with what would decide it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from comfy.doctor.record import Run
from comfy.doctor.rule import Case
from comfy.log.entry import LogEntry
from comfy.log.facts import CodeFact, FrameFact, NodeFailedFact, PackageFact
from comfy.node_defs.node_classes import Work
from comfy.wan.precision import Precision

SMALLER: Final = "fewer frames or a smaller size"
OTHERWISE: Final = "--reserve-vram 1; or a larger card: `farm plan FILE`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """At what a prompt was when the card ran out of memory, and what needs less there."""

    where: str
    less_memory: str


PLACES: Final = {
    Work.LOAD: Place(
        where="while a model was loaded",
        less_memory=f"a file of fewer bits: fp8_scaled or GGUF; {OTHERWISE}",
    ),
    Work.TEXT: Place(
        where="while the text was encoded",
        less_memory=f"an fp8 text encoder, or its loader's device on cpu; {OTHERWISE}",
    ),
    Work.IMAGE: Place(
        where="while a start image was encoded",
        less_memory=f"a smaller start image; {OTHERWISE}",
    ),
    Work.SAMPLE: Place(
        where="while it sampled",
        less_memory=f"{SMALLER}, or an fp8_scaled or GGUF file; {OTHERWISE}",
    ),
    Work.VAE: Place(
        where="in the VAE",
        less_memory="VAEDecodeTiled in place of VAEDecode (VAEEncodeTiled of VAEEncode), "
        f"{SMALLER}; {OTHERWISE}",
    ),
    Work.FRAMES: Place(
        where="while frames were interpolated or upscaled",
        less_memory=f"fewer frames at a time (clear_cache_after_n_frames, per_batch); {OTHERWISE}",
    ),
}
# Source: ComfyUI comfy/sd.py, VAE.decode: what ran out of memory is done once more, in tiles of its own.
_TILES: Final = Place(
    where="in the VAE, though it worked in tiles",
    less_memory=f"VAEDecodeTiled with a smaller tile_size and temporal_size; {SMALLER}; {OTHERWISE}",
)
# Source: ComfyUI comfy_extras/nodes_upscale_model.py, which takes all frames onto the card at once and halves
# its tiles by itself.
_UPSCALE: Final = Place(
    where="while frames were upscaled",
    less_memory=f"fewer frames at a time (ImageFromBatch), or a smaller upscale model; {OTHERWISE}",
)
_INTERPOLATE: Final = Place(
    where="while frames were interpolated",
    less_memory=f"fewer frames at a time (a lower clear_cache_after_n_frames), {SMALLER}; {OTHERWISE}",
)
# Source: ComfyUI-WanVideoWrapper, WanVideoBlockSwap: ComfyUI's own memory management does not act there.
_WRAPPER: Final = Place(
    where="while WanVideoWrapper sampled",
    less_memory="WanVideoBlockSwap with more blocks_to_swap (14B has 40); "
    f"{SMALLER}, or an fp8_scaled or GGUF file; or a larger card: `farm plan FILE`",
)
_WRAPPER_IS: Final = r"custom_nodes/[^/]*WanVideoWrapper[^/]*/"
# Of a traceback the frame that is called last and is known here decides. `comfy/ldm/modules/attention.py`,
# `comfy/ops.py` and `comfy/clip_model.py` are not: several kinds of model compute in them.
# Source: ComfyUI 0.3.64 to 0.33, comfy/ and comfy_extras/.
_PLACES: Final = tuple(
    (re.compile(pattern), place)
    for pattern, place in (
        (
            (
                r"comfy/model_management\.py (?:load_models?_gpu|model_load|model_use_more_vram)$"
                r"|comfy/model_patcher\.py (?:(?:partially_)?load|patch_model|patch_weight_to_device)$"
                r"|comfy/utils\.py load_torch_file$|comfy/sd\.py load_"
                rf"|nodes\.py load_|{_WRAPPER_IS}nodes_model_loading\.py |custom_nodes/ComfyUI-GGUF/loader"
            ),
            PLACES[Work.LOAD],
        ),
        (r".*(?:decode|encode)_tiled", _TILES),
        (
            (
                r"comfy/(?:text_encoders/|sd1_clip\.py |sdxl_clip\.py |sd2_clip\.py )"
                rf"|comfy/sd\.py encode_from_tokens|{_WRAPPER_IS}.*t5\.py "
            ),
            PLACES[Work.TEXT],
        ),
        (rf"comfy/clip_vision\.py |{_WRAPPER_IS}.*clip\.py ", PLACES[Work.IMAGE]),
        (
            (
                r"comfy/ldm/(?:.*vae|.*autoencoder|.*vqgan|modules/diffusionmodules/model\.py)"
                r"|comfy/taesd/|comfy/sd\.py (?:decode|encode)$"
                rf"|{_WRAPPER_IS}.*vae.*\.py |{_WRAPPER_IS}nodes\.py (?:decode|encode)"
            ),
            PLACES[Work.VAE],
        ),
        (rf"{_WRAPPER_IS}(?:nodes_sampler\.py |wanvideo/modules/(?:model|attention)\.py )", _WRAPPER),
        (r"comfy_extras/nodes_upscale_model\.py |custom_nodes/[^/]*(?i:SeedVR|FlashVSR|Upscaler)", _UPSCALE),
        (
            (
                r"comfy_extras/(?:nodes_frame_interpolation\.py|frame_interpolation_models/)"
                r"|custom_nodes/[^/]*(?i:Frame-?Interpolation|VFI|Rife)"
            ),
            _INTERPOLATE,
        ),
        (
            (
                r"comfy/(?:samplers|sample|model_base|controlnet|sampler_helpers)\.py |comfy/(?:k_d|cldm)"
                r"|comfy/ldm/(?!modules/(?:attention|sub_quadratic_attention|ema)\.py)"
                r"|nodes\.py (?:common_ksampler|sample)$"
            ),
            PLACES[Work.SAMPLE],
        ),
    )
)
_CUSTOM: Final = re.compile(r"custom_nodes/([^/]+)/")


def frames_of(run: Run) -> list[LogEntry]:
    """The traceback of the error that ended a prompt, from its node on; none where the log holds none."""
    failed = max((entry.number for entry, _ in run.of(NodeFailedFact)), default=0)
    executor = [entry.number for entry, fact in run.of(FrameFact) if not fact.sage]
    behind = [entry for entry in run.frames if entry.number > failed]
    if behind:  # ComfyUI tells the error, and then where
        node = max((number for number in executor if number > failed), default=failed)
        return [entry for entry in behind if entry.number > node]
    node = max((number for number in executor if number < failed), default=failed)
    return [entry for entry in run.frames if node < entry.number < failed]


def place_in(frames: Sequence[LogEntry]) -> tuple[Place, LogEntry] | None:
    """Where a traceback ends, and the frame that says so; None: it ends in nothing that is known."""
    for entry in reversed(frames):
        code = _code(entry)
        place = next((place for pattern, place in _PLACES if pattern.match(code)), None)
        if place is not None:
            return place, entry
    for entry in frames:
        name = _CUSTOM.match(_code(entry))
        if name is not None:
            less = f"what that node offers for less memory: tiles, batches; {SMALLER}; {OTHERWISE}"
            return Place(where=f"in the custom node {name[1]}", less_memory=less), entry
    return None


def _code(entry: LogEntry) -> str:
    fact = entry.fact
    return f"{fact.file} {fact.function}" if isinstance(fact, CodeFact) else ""


def is_on_windows(case: Case) -> bool:
    """Whether a traceback's paths, or an error's words, are of Windows."""
    return any(":\\" in entry.text for run in case.runs for entry in run.frames) or _tells(case, _PAGE_FILE)


def _tells(case: Case, words: re.Pattern[str]) -> bool:
    return any(words.search(fact.message) for run in case.runs for _, fact in run.of(NodeFailedFact))


_PAGE_FILE: Final = re.compile(r"(?:os error|WinError) 1455|paging file is too small")
# Of torch, of Windows in any language, of Linux, of C++, of numpy, of Python itself; of ComfyUI, which reads
# weights into pinned memory (its issue 14250).
NO_HOST_MEMORY: Final = re.compile(
    r"DefaultCPUAllocator|Cannot allocate memory|bad_alloc|Unable to allocate |CUDA error: out of host memory"
    rf"|^MemoryError$|^HostBuffer\.|{_PAGE_FILE.pattern}"
)
HOST_MEMORY: Final = "raise the container's memory limit, add swap or --disable-pinned-memory"
# Source: Microsoft's list of system errors, ERROR_COMMITMENT_LIMIT: what may be committed is memory and page
# files together, and a file that is mapped counts.
_OF_WINDOWS: Final = (
    "a larger page file of Windows (Advanced system settings, Performance, Virtual memory) on a disk with "
    "room; --disable-pinned-memory"
)
SMALLER_FILES: Final = ", or take fp8 files"


def more_host_memory(case: Case) -> str:
    """What helps where the host's memory is short; smaller files only where there are such."""
    experts = case.work.experts() if case.work is not None else ()
    can_shrink = not experts or any(each.precision in (Precision.FULL, Precision.WIDE) for each in experts)
    return (_OF_WINDOWS if is_on_windows(case) else HOST_MEMORY) + (SMALLER_FILES if can_shrink else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cause:
    words: re.Pattern[str]  # of the error
    remedy: Callable[[Case, re.Match[str]], str]


def remedy_of(case: Case, message: str, run: Run | None) -> str:
    """What helps against an error; where its cause is not known, what would decide it."""
    for cause in _CAUSES:
        found = cause.words.search(message)
        if found is not None:
            return cause.remedy(case, found)
    frames = frames_of(run) if run is not None else []
    if not frames:
        return (
            "the cause is not known, and no traceback here says where: the log behind the error, or the "
            "editor's report, does; `farm lint FILE` knows many errors beforehand"
        )
    last = frames[-1].fact
    at = f"{last.file}, {last.function}" if isinstance(last, CodeFact) else ""
    custom = next((name[1] for each in frames if (name := _CUSTOM.match(_code(each)))), "")
    whose = f"update {custom}, or ask there" if custom else "see what its node was given"
    return f"the cause is not known; the traceback ends in {at}: {whose}; `farm lint FILE` knows many errors"


# What torch was built for. Source: pytorch RELEASE.md, CUDA support matrix; .ci/manywheel/build_cuda.sh: 12.6
# has 5.0 to 9.0, 12.8 from 7.0 or 7.5 and 13.0 from 7.5 to 12.0.
_BUILT: Final = re.compile(r"\+cu(\d\d)(\d)")
_ARCHITECTURES: Final = "`python -c 'import torch; print(torch.version.cuda, torch.cuda.get_arch_list())'`"


def _kernels(case: Case, _: re.Match[str]) -> str:
    packages = case.record.server.of(PackageFact)
    version = next((fact.version for _, fact in packages if fact.name == "pytorch"), "")
    built, card = _BUILT.search(version), case.capability
    if built is None or card is None:
        return (
            "torch, or a package with kernels of its own such as SageAttention, was not built for this card: "
            f"{_ARCHITECTURES} says whether it is torch"
        )
    cuda, name = (int(built[1]), int(built[2])), f"compute capability {card[0]}.{card[1]}"
    if card >= (10, 0) and cuda < (12, 8):
        return (
            f"torch {version} has no kernels for {name}: install torch 2.7 or newer of CUDA 12.8 or newer "
            "(cu128, cu130) into ComfyUI's Python; packages with kernels of their own then fit it anew"
        )
    if card < (7, 5) and cuda >= (13, 0):
        return f"torch {version} has no kernels for {name}: install torch of CUDA 12.6 (cu126)"
    return (
        f"torch {version} has kernels for most cards of {name}: a package with kernels of its own "
        f"(SageAttention, xformers, …) likely has none; {_ARCHITECTURES} says whether it is torch after all"
    )


# Source: ComfyUI comfy/ldm/wan/model.py: text_embedding takes 4096, img_emb 1280.
_WIDTHS: Final = {"4096": "5120 3072 1536 2048", "1280": "1280"}


def _shapes(_: Case, found: re.Match[str]) -> str:
    given, takes, gives = found["given"], found["takes"], found["gives"]
    if takes == "4096" and gives in _WIDTHS["4096"].split():
        return (
            f"the text encoder is likely of another model: WAN takes umt5_xxl (4096 wide), and this one is "
            f"{given}; CLIPLoader with umt5_xxl_fp8_e4m3fn_scaled.safetensors and type wan"
        )
    if takes == gives == "1280":
        return f"the image encoder is likely another: WAN 2.1 takes clip_vision_h (1280), not {given}"
    return (
        f"two models do not fit each other: what comes is {given} wide, and the layer takes {takes}; the "
        "traceback says which layer: text encoder, ControlNet and LoRA are to be of the same model"
    )


_OF_5B: Final = "wan2.2_vae and Wan22ImageToVideoLatent are of 5B alone, wan_2.1_vae of all others"
_LATENTS: Final = {16: "WAN 2.1 and 2.2 A14B", 48: "WAN 2.2 5B"}


def _channels(_: Case, found: re.Match[str]) -> str:
    takes, given, kernel = int(found["takes"]), int(found["given"]), found["kernel"]
    unknown = (
        f"model and input do not fit each other: it takes {takes} channels and was given {given}; see that "
        "model, latents and VAE are of one family, and the start image's node is that model's"
    )
    is_of_wan = kernel.replace(" ", "").endswith("1,2,2")
    if is_of_wan and (takes, given) == (36, 32):
        # Source: github.com/Wan-Video/Wan2.2/issues/28; comfy/model_base.py, WAN21.concat_cond: 36 are 16 of
        # noise, 16 of the image and 4 of its mask, which a release that takes it for T2V leaves out.
        return (
            "an I2V model whose start image likely came without its mask, as in ComfyUI before WAN 2.2 "
            "(0.3.46): update it, and custom nodes that sample"
        )
    if is_of_wan and (takes, given) == (36, 16):
        return "an I2V model without a start image: WanImageToVideo in place of empty latents, or a T2V model"
    if is_of_wan and takes == 16 and given > takes:
        return f"a T2V model that was given a start image ({given} channels): the I2V model, or no image"
    if {takes, given} == set(_LATENTS):
        return f"latents of {given} channels ({_LATENTS[given]}) met what takes {takes}: {_OF_5B}"
    return unknown


def _tensors(_: Case, found: re.Match[str]) -> str:
    sizes = {int(found["one"]), int(found["other"])}
    if sizes == set(_LATENTS):
        return f"latents of 16 channels ({_LATENTS[16]}) met 48 ({_LATENTS[48]}): {_OF_5B}"
    return (
        "two inputs of one node differ in size: images, masks and control clips have to be of one size and "
        "as many frames; the traceback says in which node"
    )


def _module(_: Case, found: re.Match[str]) -> str:
    return f"`python -m pip install` the package that has {found['name']}, in ComfyUI's own Python"


def _say(text: str) -> Callable[[Case, re.Match[str]], str]:
    return lambda _, __: text


COMPILER_FAILED: Final = re.compile(
    r"(?i)failed to find c compiler|cannot find msvc|Python\.h"
    r"|\b(?:gcc|cc|cl|clang|tcc)(?:\.exe)?'.*returned non-zero"
)
# Source: github.com/woct0rdho/triton-windows (README); Triton python/triton/runtime/build.py, which
# compiles a launcher with the C compiler it finds, against Python.h and libcuda.
COMPILER: Final = (
    "Triton could not compile, most often for want of a C compiler or Python's headers: install gcc and "
    "python3-dev of ComfyUI's Python (on Windows triton-windows, and `include` and `libs` of that Python); "
    "the compiler's own words stand above the error"
)
_FETCH_AGAIN: Final = "fetch it again, and compare its size or SHA-256 with the source's"
_BOTH: Final = "update ComfyUI and the custom node together: one of them is older than the other expects"
_NO_TORCH: Final = (
    "this torch computes on no card: install the CUDA build (cu128, cu130) into ComfyUI's Python"
)
_CUDA_FAULT: Final = (
    "the cause is not known, and the traceback may name another place: run once with CUDA_LAUNCH_BLOCKING=1 "
    "(AMD: AMD_SERIALIZE_KERNEL=3), which names it; then without SageAttention and torch.compile"
)
# The first that fits counts. Sources: safetensors' SafetensorError (a header that is too large is no header:
# HTML, a Git LFS pointer, another format); torch/serialization.py; ComfyUI nodes.py and comfy/sd.py;
# ComfyUI-GGUF loader.py; Triton python/triton/runtime/build.py; CUDA's list of errors.
_CAUSES: Final = tuple(
    _Cause(words=re.compile(words), remedy=remedy)
    for words, remedy in (
        (r"no kernel image is available|is not compatible with the current PyTorch", _kernels),
        (
            (
                r"deserializing header: .*(?i:incomplete|not fully covered)|(?i:file is incomplete)"
                r"|PytorchStreamReader failed|[Uu]nexpected EOF|Ran out of input|failed finding central dir"
            ),
            _say(f"a model file is broken off, likely by a download that did not end: {_FETCH_AGAIN}"),
        ),
        (
            r"deserializing header|HeaderTo[o]?(?:Large|Small)|invalid load key|GGUF magic invalid",
            _say(
                "a model file is not what its name says: a web page, a Git LFS pointer or another format: "
                f"{_FETCH_AGAIN}"
            ),
        ),
        (r"\(\d+x(?P<given>\d+) and (?P<takes>\d+)x(?P<gives>\d+)\)", _shapes),
        (
            (
                r"weight of size \[(?P<kernel>[\d, ]+)\], expected input.* to have (?P<takes>\d+) channels, "
                r"but got (?P<given>\d+)"
            ),
            _channels,
        ),
        (r"size of tensor a \((?P<one>\d+)\) must match the size of tensor b \((?P<other>\d+)\)", _tensors),
        (NO_HOST_MEMORY.pattern, lambda case, _: more_host_memory(case)),
        (r"No space left on device|os error 112|not enough space on the disk", _say("make room on the disk")),
        (r"No module named '(?P<name>[^']+)'", _module),
        (COMPILER_FAILED.pattern, _say(COMPILER)),
        (
            r"(?i)cannot find a working triton|triton.*not (?:installed|available|found)",
            _say("install triton (on Windows triton-windows) that fits this torch, into ComfyUI's Python"),
        ),
        (r"Torch not compiled with CUDA|has no attribute '_cuda_", _say(_NO_TORCH)),
        (
            r"Found no NVIDIA driver|driver version is insufficient|driver on your system is too old",
            _say(
                "update the card's driver, or install torch of an older CUDA; `nvidia-smi` says what it takes"
            ),
        ),
        (
            (
                r"illegal memory access|device-side assert|unspecified launch failure|misaligned address"
                r"|CUDA error: (?:unknown error|invalid argument|operation not supported)"
                r"|CUBLAS_STATUS_|CUDNN_STATUS_|HIP error"
            ),
            _say(_CUDA_FAULT),
        ),
        (
            r"Could not detect model type of",
            _say(
                "this ComfyUI does not know the model: update it; or the file is none (VAE, text "
                "encoder, LoRA), or is broken"
            ),
        ),
        (
            r"(?:clip input|VAE) is invalid: None",
            _say("the checkpoint holds none: load it by a node of its own, CLIPLoader or VAELoader"),
        ),
        (
            r"Unexpected (?:text model )?architecture type in GGUF",
            _say("update ComfyUI-GGUF; or the file is of another kind: text encoders go into CLIPLoaderGGUF"),
        ),
        (
            (
                r"unexpected keyword argument|missing \d+ required positional argument|cannot import name"
                r"|takes (?:from )?\d+ .*positional arguments? but"
            ),
            _say(_BOTH),
        ),
        (
            r"No such file or directory: '?(?P<file>[^']+)",
            lambda _, found: f"put {found['file'].strip()} there, or name another file",
        ),
        (
            r"MPS backend.*does not have support|not (?:currently )?supported (?:for|at|on) the MPS",
            _say(
                "Apple's MPS cannot do that: an fp16 or GGUF file in place of fp8, or "
                "PYTORCH_ENABLE_MPS_FALLBACK=1"
            ),
        ),
        (
            r"(?i)ffmpeg is required|no such (?:encoder|codec)|Unknown encoder",
            _say("install FFmpeg with that encoder, or choose another format (video/h264-mp4)"),
        ),
    )
)
# How a server ended, by the words of the lines that tell of it. Source: signal(7); Windows' NTSTATUS
# 0xC0000005 as a number; c10::Error of torch; ROCm's runtime.
_ENDS: Final = (
    (
        re.compile(
            r"(?i)terminate called|c10::|Memory access fault by GPU|HSA_STATUS|failed assertion|CUDA error"
        ),
        (
            "the driver, torch or a custom kernel failed on the card: run once with CUDA_LAUNCH_BLOCKING=1 "
            "(AMD: AMD_SERIALIZE_KERNEL=3) and see the last lines; then without custom kernels"
        ),
    ),
    (
        re.compile(
            r"(?i)segmentation|SIGSEGV|access violation|\b139\b|3221225477|core dumped"
            r"|stack smashing|corrupt|double free|段错误|Speicherzugriff|segment"
        ),
        (
            "native code crashed, and no line says whose: `python -X faulthandler main.py` does; then "
            "without custom nodes (--disable-all-custom-nodes), and with another driver or torch"
        ),
    ),
)
_NOT_TOLD: Final = (
    "the log does not say why: `dmesg -T | grep -i -e oom -e segfault`, `docker inspect` (OOMKilled, "
    "ExitCode) the service's journal or Windows' Event Viewer does, or whoever restarted it"
)


def remedy_of_end(ended: Iterable[LogEntry]) -> str:
    """What helps where the server ended under a prompt."""
    words = "\n".join(entry.text for entry in ended)
    return next((remedy for pattern, remedy in _ENDS if pattern.search(words)), _NOT_TOLD)
