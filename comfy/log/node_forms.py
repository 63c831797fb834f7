"""Lines of others that stand in ComfyUI's log: custom nodes, torch, the system, worker-comfyui's handler.

Source: the repositories of the same names; WanVideoWrapper's nodes.py and utils.py of 2025 and 2026, KJNodes'
model_optimization_nodes.py, worker-comfyui's handler.py. Their releases have no numbers that people know.
"""

from __future__ import annotations

import re
from typing import Final

from comfy.log.facts import (
    AimdoFact,
    AttentionRestoredFact,
    BlockSwapFact,
    CompileLimitFact,
    DownloadFact,
    EncoderFailedFact,
    GgufFact,
    HandlerFact,
    HandlerStep,
    InterpolatedFact,
    LogFact,
    LoraLoadedFact,
    MultiGpuFact,
    PackageFact,
    PeakMemoryFact,
    SagePatchedFact,
    SamplingFact,
    StepsSkippedFact,
    WorkingFact,
)
from comfy.log.form import COUNT, NUMBER, LineForm, Printer, form

_HANDLER: Final = ("worker-comfyui - ", "runpod-worker-comfy - ")  # the second until 2025
_GROUPED: Final = r"\d{1,3}(?:,\d{3}){1,3}(?:\.\d{1,3})?"  # 8,200.45
_MOST_PLAUSIBLE_MIB: Final = 1e6  # above, the wrapper's newer releases print kilobytes and call them MB


def _gguf(found: re.Match[str]) -> LogFact:
    types = re.findall(rf"(\w+) \(({COUNT})\)", found[1])
    return GgufFact(types=tuple(name for name, _ in sorted(types, key=lambda each: -int(each[1]))))


def _blocks(found: re.Match[str]) -> LogFact:
    mib = float(found[2].replace(",", ""))
    return BlockSwapFact(device=found[1], mib=mib if mib < _MOST_PLAUSIBLE_MIB else mib / 1000)


def _handler(name: str, step: HandlerStep, words: str | tuple[str, ...], *samples: str) -> LineForm:
    begins = tuple(
        handler + each for each in ((words,) if isinstance(words, str) else words) for handler in _HANDLER
    )
    return form(
        name,
        _MEANINGS[step],
        begins,
        r"(.*)",
        lambda m: HandlerFact(step=step, subject=_subject(m[1])),
        *(handler + each for each in samples for handler in _HANDLER),
        by=Printer.HANDLER,
    )


def _subject(rest: str) -> str:
    """What the line is about, without what is said of it."""
    rest = re.sub(r" (?:as base64|to S3\.*.*)$", "", rest.strip())
    found = re.search(r"filename=(\S+)", rest)
    return found[1] if found else rest.strip(": .")[:300]


_MEANINGS: Final = {
    HandlerStep.STARTED: "the handler waits for jobs",
    HandlerStep.QUEUED: "its prompt was taken",
    HandlerStep.SILENT: "ten seconds without a message: normal in a long node",
    HandlerStep.DISCONNECTED: "the connection broke; it never asks the history, so a lost end is lost",
    HandlerStep.RECONNECTED: "it listens again",
    HandlerStep.FINISHED: "it has heard the end of its prompt",
    HandlerStep.VIEWED: "an output comes over HTTP instead of from the disk",
    HandlerStep.BASE64: "an output goes back in the answer: a third larger, under the platform's limit",
    HandlerStep.UPLOADING: "an output goes to S3",
    HandlerStep.UPLOADED: "an output is in S3",
    HandlerStep.NOTHING: "no output was found: it sees only what stands under `images`",
    HandlerStep.DONE: "the job is over for the handler",
}

OF_NODES: Final = (
    form(
        "xformers-version", "xformers is installed", "xformers version: ", r"(\S+)",
        lambda m: PackageFact(name="xformers", version=m[1]),
        "xformers version: 0.0.32.post2", by=Printer.TORCH,
    ),
    form(
        "gguf-types", "a GGUF file was opened: its weights are unpacked at each use", "gguf qtypes: ",
        r"(.*)", _gguf,
        "gguf qtypes: F32 (694), Q4_K (400)", by=Printer.GGUF,
    ),
    form(
        "kj-sage", "SageAttention computes in ComfyUI's place, by a node of KJNodes",
        ("Patching comfy attention to use ", "Using sage attention mode: "), r"(\S+)",
        lambda m: SagePatchedFact(mode="" if m[1].lower().startswith("sage") else m[1]),
        "Patching comfy attention to use sageattn",
        "Using sage attention mode: sageattn_qk_int8_pv_fp8_cuda", by=Printer.KJNODES,
    ),
    form(
        "kj-restored", "ComfyUI's own attention computes again", "Restoring initial comfy attention", "",
        lambda _: AttentionRestoredFact(),
        "Restoring initial comfy attention", by=Printer.KJNODES,
    ),
    form(
        "wrapper-sampling", "the wrapper samples so many frames", "Sampling ",
        rf"({COUNT}) frames(?: in \d+ windows)?,? at ({COUNT})x({COUNT}) with ({COUNT}) steps",
        lambda m: SamplingFact(frames=int(m[1]), width=int(m[2]), height=int(m[3]), steps=int(m[4])),
        "Sampling 81 frames at 832x480 with 30 steps",
        "Sampling 257 frames in 4 windows, at 832x480 with 6 steps", by=Printer.WRAPPER,
    ),
    form(
        "wrapper-blocks", "where the wrapper keeps the transformer's blocks", "Transformer blocks on ",
        rf"(\S+): ({_GROUPED}|{NUMBER}) ?MB", _blocks,
        "Transformer blocks on cpu: 8200.45MB", by=Printer.WRAPPER,
    ),
    form(
        "wrapper-peak", "the most memory that was used on the card",
        ("Max allocated memory: ", "[Sampling] Max allocated memory: "), rf"max_memory=({NUMBER}) GB",
        lambda m: PeakMemoryFact(gib=float(m[1]), reserved=False),
        "Max allocated memory: max_memory=14.812 GB",
        "[Sampling] Max allocated memory: max_memory=14.812 GB", by=Printer.WRAPPER,
    ),
    form(
        "wrapper-reserved", "the most memory that torch held on the card",
        ("Max reserved memory: ", "[Sampling] Max reserved memory: "), rf"max_reserved=({NUMBER}) GB",
        lambda m: PeakMemoryFact(gib=float(m[1]), reserved=True),
        "Max reserved memory: max_reserved=17.250 GB",
        "[Sampling] Max reserved memory: max_reserved=17.250 GB", by=Printer.WRAPPER,
    ),
    form(
        "wrapper-lora", "the wrapper loads a LoRA", "Loading LoRA: ", rf"(.+) with strength: (-?{NUMBER})",
        lambda m: LoraLoadedFact(name=m[1], strength=float(m[2])),
        "Loading LoRA: lightx2v_T2V_14B_cfg_step_distill_v2 with strength: 1.0", by=Printer.WRAPPER,
    ),
    form(
        "wrapper-cache", "a step cache says how many steps it has saved",
        ("TeaCache skipped: ", "MagCache skipped: ", "EasyCache skipped: "), rf"({COUNT})(?: \w+|\s*$)",
        lambda m: StepsSkippedFact(cache=m[0].split(" ")[0], skipped=int(m[1]), steps=None),
        "TeaCache skipped: 8 cond steps, 8 uncond steps", "MagCache skipped: 3 conditional steps: [2, 4, 6]",
        "EasyCache skipped: 0 unconditional steps: []", by=Printer.WRAPPER,
    ),
    form(
        "kj-teacache", "a step cache says how many steps it has saved, in a line for each kind", "",
        rf"({COUNT}) (?:un)?cond steps?\s*$",
        lambda m: StepsSkippedFact(cache="TeaCache", skipped=int(m[1]), steps=None),
        "8 cond steps", "8 uncond step", by=Printer.KJNODES,
    ),
    form(
        "interpolated", "interpolation has ended", "Comfy-VFI done! ", rf"({COUNT}) frames generated",
        lambda m: InterpolatedFact(frames=int(m[1])),
        "Comfy-VFI done! 161 frames generated", by=Printer.VFI,
    ),
    form(
        "download", "a file is fetched while the prompt waits", ("Downloading: ", "Downloading model to: "),
        r'"?([^"\s]+)',
        lambda m: DownloadFact(source=m[1]),
        'Downloading: "https://example.org/rife47.pth" to /models/rife/rife47.pth',
        "Downloading model to: /models/depthanything/depth_anything_v2_vitl_fp32.safetensors", by=Printer.VFI,
    ),
    form(
        "ffmpeg-failed", "FFmpeg could not encode the clip",
        ("An error occured in the ffmpeg ", "An error occurred in the ffmpeg ", "No valid ffmpeg found"),
        "(.*)",
        lambda m: EncoderFailedFact(message=m[0].strip()[:300]),
        "An error occured in the ffmpeg subprocess:", "An error occurred in the ffmpeg prepass:",
        "No valid ffmpeg found.", by=Printer.VHS,
    ),
    form(
        "vhs-trouble", "FFmpeg is missing", "[VideoHelperSuite] - ",
        r"(?:ERROR) - (No valid ffmpeg found.*)",
        lambda m: EncoderFailedFact(message=m[1].strip()[:300]),
        "[VideoHelperSuite] - ERROR - No valid ffmpeg found.", by=Printer.VHS,
    ),
    form(
        "nvenc-failed", "the card has no video encoder, or the container may not use it",
        ("No capable devices found", "OpenEncodeSessionEx failed", "[h264_nvenc @ ", "[hevc_nvenc @ "),
        r"(.*)",
        lambda m: EncoderFailedFact(message=m[0].strip()[:300]),
        "No capable devices found", "OpenEncodeSessionEx failed: unsupported device (2): (no details)",
        "[h264_nvenc @ 0x55d5] OpenEncodeSessionEx failed: out of memory (10)",
        "[hevc_nvenc @ 0x55d5] No capable devices found", by=Printer.VHS,
    ),
    form(
        "multigpu", "a node of MultiGPU chooses the device", "[MultiGPU", r"(.*)",
        lambda m: MultiGpuFact(message=m[0].strip()[:300]),
        "[MultiGPU Core Patching] text_encoder_device_patched returning device: cuda:1",
        by=Printer.MULTIGPU,
    ),
    form(
        "compile-limit", "a function was compiled too often and runs uncompiled",
        ("torch._dynamo hit config.recompile_limit", "torch._dynamo hit config.cache_size_limit"), "",
        lambda _: CompileLimitFact(),
        "torch._dynamo hit config.recompile_limit (8)", "torch._dynamo hit config.cache_size_limit (8)",
        by=Printer.TORCH,
    ),
    form(
        "aimdo", "comfy-aimdo sets itself up, beside the driver of a card", "aimdo: ",
        r"\S*(?:src-(?:win|posix)/|control\.c)",
        lambda _: AimdoFact(),
        "aimdo: src-win/shmem-detect.c:54:WARNING:comfy-aimdo WDDM init failed (2).", by=Printer.AIMDO,
    ),
    form(
        "working", "a prompt is at work; how far it is, is not told",
        ("model_type ", "Using pytorch attention in VAE", "Using split attention in VAE",
         "Using xformers attention in VAE", "Found quantization metadata version",
         "Using MixedPrecisionOps for", "Detected mixed precision quantization", "Loading 1 new model",
         "Loading 2 new models", "EasyCache enabled", "Moving transformer block ",
         "Detected model in_channels: ",
         "Model cross attention type: ", "Model variant detected: ", "Input sequence length: ",
         "prompt token count: "),
        "",
        lambda _: WorkingFact(),
        "model_type FLOW", "Using pytorch attention in VAE", "Using split attention in VAE",
        "Using xformers attention in VAE", "Found quantization metadata version 1",
        "Using MixedPrecisionOps for text encoder", "Detected mixed precision quantization",
        "Loading 1 new model", "Loading 2 new models", "EasyCache enabled - threshold: 0.2",
        "Moving transformer block 0 to offload_device",
        "Detected model in_channels: 36", "Model cross attention type: i2v, num_heads: 40, num_layers: 40",
        "Model variant detected: 14B", "Input sequence length: 73920", "prompt token count: tensor([21])",
        by=Printer.WRAPPER,
    ),
    _handler("handler-started", HandlerStep.STARTED, "Starting handler", "Starting handler..."),
    _handler(
        "handler-queued", HandlerStep.QUEUED,
        ("Queued workflow with ID: ", "queued workflow with ID ", "queued prompt with ID "),
        "Queued workflow with ID: 3f1c2a4e-0000-4000-8000-000000000000",
        "queued workflow with ID 3f1c2a4e-0000-4000-8000-000000000000",
        "queued prompt with ID 3f1c2a4e-0000-4000-8000-000000000000",
    ),
    _handler(
        "handler-silent", HandlerStep.SILENT, "Websocket receive timed out",
        "Websocket receive timed out. Still waiting...",
    ),
    _handler(
        "handler-disconnected", HandlerStep.DISCONNECTED, "Websocket connection closed unexpectedly",
        "Websocket connection closed unexpectedly: Connection is already closed. Attempting to reconnect...",
    ),
    _handler(
        "handler-reconnected", HandlerStep.RECONNECTED, "Websocket reconnected successfully",
        "Websocket reconnected successfully.",
    ),
    _handler(
        "handler-finished", HandlerStep.FINISHED,
        ("Execution finished for prompt ", "image generation is done"),
        "Execution finished for prompt 3f1c2a4e-0000-4000-8000-000000000000", "image generation is done",
    ),
    _handler(
        "handler-view", HandlerStep.VIEWED, "Fetching image data: ",
        "Fetching image data: type=output, subfolder=, filename=wan2.2_00001.mp4",
    ),
    _handler(
        "handler-base64", HandlerStep.BASE64,
        ("Encoded ", "the image was generated and converted to base64"),
        "Encoded wan2.2_00001.mp4 as base64", "the image was generated and converted to base64",
    ),
    _handler(
        "handler-uploading", HandlerStep.UPLOADING, "Uploading ", "Uploading wan2.2_00001.mp4 to S3...",
    ),
    _handler(
        "handler-uploaded", HandlerStep.UPLOADED,
        ("Uploaded ", "the image was generated and uploaded to AWS"),
        "the image was generated and uploaded to AWS S3",
        "Uploaded wan2.2_00001.mp4 to S3: https://bucket.example.org/wan2.2_00001.mp4",
    ),
    _handler(
        "handler-nothing", HandlerStep.NOTHING,
        ("Job completed successfully, but the workflow produced no", "Job failed with no output",
         "the image does not exist in the output folder"),
        "the image does not exist in the output folder",
        "Job completed successfully, but the workflow produced no images.",
        "Job failed with no output images.",
    ),
    _handler(
        "handler-done", HandlerStep.DONE, "Job completed. Returning ", "Job completed. Returning 1 image(s).",
    ),
)  # fmt: skip
