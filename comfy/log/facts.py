"""What lines of ComfyUI's log say, as values. `comfy.log.lines` reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# What ComfyUI calls WAN's diffusion models: WAN21, WAN22, WAN21_Vace, WAN_Animate2, …
_WAN: Final = ("WAN2", "WAN_")
# What it calls models that are no diffusion model: text encoders, VAEs, and helpers.
# Source: ComfyUI comfy/sd.py, comfy/text_encoders/, comfy/model_management.py.
_OTHER_MODELS: Final = re.compile(
    r"TE(Model|_|$)|Clip|CLIP|VAE|Vae|Autoencod|Control|Upscale|Encoder|T5|Llama|Gemma|Vision|AnimateDiff"
)
# Bars that count files. Source: huggingface_hub _snapshot_download.py, transformers utils/hub.py.
_FETCHES: Final = re.compile(r"(?:Fetching|Downloading) (?:\d+ files|shards|\(\S)")
_LEAST_FETCHED_S: Final = 2.0
_SLOW_ATTENTION: Final = ("split", "sub quadratic")  # the fall-back for machines without another


def is_diffusion(model_class: str) -> bool:
    """Whether a class of ComfyUI's is a diffusion model's; not where the log does not name it."""
    return bool(model_class) and _OTHER_MODELS.search(model_class) is None


class LoadState(StrEnum):
    """How a model came onto the card."""

    COMPLETE = "complete"  # every weight is on the card
    PARTIAL = "partial"  # the rest streams from RAM in each step
    DYNAMIC = "dynamic"  # weights come as they are needed; what is resident is not told


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFact:
    """ComfyUI's version."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFact:
    """The version of a package that ComfyUI stands on."""

    name: str  # "pytorch", "comfyui-frontend-package", "comfy-aimdo", …
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFact:
    """What ComfyUI sees of the machine."""

    vram_mib: float
    ram_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VramStateFact:
    """The load mode: NORMAL_VRAM unless a flag was given; DISABLED means CPU."""

    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFact:
    """What ComfyUI computes on: "cpu", "cuda:0 NVIDIA … : cudaMallocAsync"; with more cards one fact each."""

    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFact:
    """The attention of the whole process: "pytorch", "sage", "flash", "split", "sub quadratic", …."""

    name: str

    @property
    def is_slow(self) -> bool:
        """Whether it is the fall-back, which no card should need."""
        return self.name in _SLOW_ATTENTION


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFailedFact:
    """A call of this attention failed, and PyTorch's was taken instead; said anew in each call."""

    name: str  # "sage", "flash"


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicVramFact:
    """Whether weights are loaded on demand (the default with an NVIDIA card since ComfyUI 0.16.0)."""

    enabled: bool
    why: str = ""  # why not, in a few words


@dataclass(frozen=True, slots=True, kw_only=True)
class AimdoFact:
    """comfy-aimdo sets itself up: there is a card whose driver it knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadingFact:
    """Weights that stream from RAM do so beside the computing."""

    streams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedMemoryFact:
    """How much of the host's memory may be pinned for transfers."""

    limit_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFact:
    """Which earlier results are kept: "ram pressure", "lru", "none"; the classic cache says nothing."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowKernelsFact:
    """torch is too old for the fast kernels of quantised weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFact:
    """ComfyUI's own database cannot be used; it goes on without."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingFact:
    """The server begins to start: what comes next is no prompt's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyFact:
    """The server listens, now or within milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptQueuedFact:
    """A prompt was taken into the queue; it may start much later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRefusedFact:
    """A prompt did not pass the check."""

    message: str = ""  # "Node 'X' not found. The custom node may not be installed."


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplaintFact:
    """What the check before a prompt says of one input of a node, or of the whole."""

    message: str  # "Value not in list"
    details: str  # "unet_name: 'a.safetensors' not in []"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFact:
    """A diffusion model was read from disk."""

    dtype: str
    cast_to: str | None  # what its layers compute in; None: in `dtype` itself


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisedOpsFact:
    """Which quantised formats compute natively here; the others are slow."""

    native: tuple[str, ...]
    emulated: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequestedFact:
    """A model that was not on the card is brought there: WAN21, WanTEModel, WanVAE, …"""

    model_class: str

    @property
    def is_diffusion(self) -> bool:
        """Whether it is a diffusion model."""
        return is_diffusion(self.model_class)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoadedFact:
    """A model is loaded, as far as it fits. Sizes in MiB; None: not told."""

    state: LoadState
    loaded_mib: float | None = None
    offloaded_mib: float | None = None  # streamed in each step
    usable_mib: float | None = None  # the budget; None also for "no limit"
    patches: int | None = None  # LoRA patches that are applied anew in each step
    staged_mib: float | None = None  # in host memory, under dynamic VRAM
    model_class: str | None = None

    @property
    def is_diffusion(self) -> bool:
        """Whether it is a diffusion model."""
        return is_diffusion(self.model_class or "")

    @property
    def is_of_wan(self) -> bool:
        """Whether it is a diffusion model of WAN's."""
        return (self.model_class or "").startswith(_WAN)

    @property
    def brought_mib(self) -> float | None:
        """What was brought onto the card, or under dynamic VRAM made ready for it."""
        return self.loaded_mib if self.loaded_mib is not None else self.staged_mib

    @property
    def whole_mib(self) -> float | None:
        """How large the whole model is, where its line says that; under dynamic VRAM what is made ready."""
        if self.loaded_mib is None or self.state is not LoadState.PARTIAL:
            return self.brought_mib
        return None if self.offloaded_mib is None else self.loaded_mib + self.offloaded_mib


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidencyFact:
    """What of a model is on the card and in RAM: the only such figure under dynamic VRAM, at level DETAIL."""

    model_class: str
    ram_mib: float
    vram_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraResizeFact:
    """A LoRA changes the size of a layer, which is therefore kept on the card."""

    layer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadedFact:
    """Models had to leave the card, to make room or because somebody asked."""

    models: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictedFact:
    """A part of a model had to leave the card."""

    freed_mib: float | None  # None: not told
    remains_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailedFact:
    """A node raised an error, which ends its prompt."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFact:
    """A frame of a traceback that says whose error it is."""

    sage: bool  # SageAttention's; else of ComfyUI's own executor: no node has caught the error


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFact:
    """A frame of a traceback in a node's code, ComfyUI's own or a custom one's."""

    file: str  # below ComfyUI's folder: "comfy/ldm/wan/vae.py"
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFrameFact:
    """A frame of a traceback that says that the server did not start: its error is no prompt's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFact:
    """The last line of a traceback. A node may have caught the error: where it stands decides."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFact:
    """A line of the report that ComfyUI's editor writes of an error; it is told out of its time."""

    says: VersionFact | PackageFact | DeviceFact | NodeFailedFact | PromptRefusedFact


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemoryFact:
    """A node ran out of memory, and ComfyUI has unloaded all models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySummaryFact:
    """torch's table of its memory begins: an out-of-memory error is being told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeRetryFact:
    """The VAE ran out of memory and goes on in tiles: slower, seams possible, no error for the client."""

    decoding: bool  # False: encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelFact:
    """Somebody asked for the end of a prompt; it may have run to its end already."""

    prompt_id: str | None  # None: of whatever runs


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptedFact:
    """A prompt stopped because somebody asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptDoneFact:
    """A prompt is over, well or not."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RamLimitFact:
    """The container may use less memory than the host has, and ComfyUI knows it."""

    limit_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartMemoryOffFact:
    """Models leave the card after each use: a flag says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPolicyFact:
    """Whether weights are read from the disk anew instead of being kept in RAM."""

    fast_disk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFailedFact:
    """A custom node could not be imported: its classes are missing."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoderFact:
    """A text encoder was read from disk."""

    device: str  # on which it computes
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeFact:
    """A VAE was read from disk."""

    device: str
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFact:
    """A GGUF file was opened."""

    types: tuple[str, ...]  # "F32", "Q4_K", … the most frequent first


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraKeyFact:
    """A layer of a LoRA was left out: the model has no place for it."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleOnCardFact:
    """A module was placed on the card whole. It says nothing of low VRAM, for all its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakFact:
    """A model is held by somebody although nobody should need it any more."""

    model_class: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsSkippedFact:
    """A step cache says how many steps it has saved."""

    cache: str  # "EasyCache", "LazyCache", "TeaCache"
    skipped: int
    steps: int | None  # None: not told


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileLimitFact:
    """torch.compile gave up a function: it had to be compiled too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemoryFact:
    """The host, not the card, had no memory left."""

    message: str
    is_told: bool = True  # False: the system ended a process, and does not say why
    is_end: bool = False  # of a process


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEndedFact:
    """ComfyUI's process, or the thread that runs its prompts, is no more."""

    message: str
    is_asked_for: bool = False  # somebody has stopped it


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingFact:
    """A prompt is at work; the line says no more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagePatchedFact:
    """A node of KJNodes has put SageAttention in ComfyUI's place."""

    mode: str  # "" where the line does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRestoredFact:
    """A node of KJNodes has put ComfyUI's own attention back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingFact:
    """WanVideoWrapper begins to sample."""

    frames: int
    width: int  # pixels
    height: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSwapFact:
    """Where WanVideoWrapper keeps the transformer's blocks."""

    device: str
    mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemoryFact:
    """The most memory that WanVideoWrapper had on the card."""

    gib: float
    reserved: bool  # by torch; False: really used


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraLoadedFact:
    """WanVideoWrapper loads a LoRA."""

    name: str
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpolatedFact:
    """Interpolation has ended."""

    frames: int  # of the longer clip


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadFact:
    """A file is fetched from the net while a prompt waits for it."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFailedFact:
    """FFmpeg could not encode the clip, or is not there."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiGpuFact:
    """A node of ComfyUI-MultiGPU chooses the device."""

    message: str


class HandlerStep(StrEnum):
    """What the handler of worker-comfyui is at."""

    STARTED = "started"  # it waits for jobs
    QUEUED = "queued"  # its prompt was taken
    SILENT = "silent"  # ten seconds passed without a message: normal in a long node
    DISCONNECTED = "disconnected"
    RECONNECTED = "reconnected"
    FINISHED = "finished"
    VIEWED = "viewed"  # an output comes over HTTP
    BASE64 = "base64"  # an output goes back in the answer
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    NOTHING = "nothing"  # no output was found
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerFact:
    """A line of worker-comfyui's handler."""

    step: HandlerStep
    subject: str = ""  # a file, or an error


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFact:
    """A progress bar, as it was drawn last; a bar names no node."""

    label: str  # "" for a sampler's
    done: int
    total: int
    elapsed_s: float  # whole seconds
    first_s: float | None  # until the first step was done; None: not drawn
    seconds_per_step: float | None  # as the bar says: at its end the mean of all steps, the first included

    @property
    def is_download(self) -> bool:
        """Whether it counts files that are fetched: of those that are there it is at its end at once."""
        return self.elapsed_s >= _LEAST_FETCHED_S and _FETCHES.search(self.label) is not None


LogFact = (
    VersionFact
    | PackageFact
    | MemoryFact
    | VramStateFact
    | DeviceFact
    | AttentionFact
    | AttentionFailedFact
    | DynamicVramFact
    | AimdoFact
    | OffloadingFact
    | PinnedMemoryFact
    | CacheFact
    | SlowKernelsFact
    | DatabaseFact
    | StartingFact
    | ReadyFact
    | PromptQueuedFact
    | PromptRefusedFact
    | ComplaintFact
    | WeightsFact
    | QuantisedOpsFact
    | ModelRequestedFact
    | ModelLoadedFact
    | ResidencyFact
    | LoraResizeFact
    | UnloadedFact
    | EvictedFact
    | NodeFailedFact
    | FrameFact
    | CodeFact
    | StartFrameFact
    | ErrorFact
    | ReportFact
    | OutOfMemoryFact
    | MemorySummaryFact
    | VaeRetryFact
    | CancelFact
    | InterruptedFact
    | PromptDoneFact
    | RamLimitFact
    | SmartMemoryOffFact
    | DiskPolicyFact
    | ImportFailedFact
    | TextEncoderFact
    | VaeFact
    | GgufFact
    | LoraKeyFact
    | ModuleOnCardFact
    | LeakFact
    | StepsSkippedFact
    | CompileLimitFact
    | HostMemoryFact
    | ServerEndedFact
    | WorkingFact
    | SagePatchedFact
    | AttentionRestoredFact
    | SamplingFact
    | BlockSwapFact
    | PeakMemoryFact
    | LoraLoadedFact
    | InterpolatedFact
    | DownloadFact
    | EncoderFailedFact
    | MultiGpuFact
    | HandlerFact
    | BarFact
)
