"""What an error's traceback and words are taken to say."""

from __future__ import annotations

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Finding, Severity
from tests.support.tables import for_each

WRAPPER = "custom_nodes/ComfyUI-WanVideoWrapper"
SERVER = "Total VRAM 32109 MB, total RAM 64000 MB\npytorch version: {torch}\nDevice: cuda:0 {card} : native\n"


def failing(error: str, *frames: str, before: str = "", root: str = "/ComfyUI/") -> str:
    """A prompt that an error has ended, with its traceback from the executor on."""
    lines = ("execution.py execute", *frames) if frames else ()
    trace = "".join(
        f'  File "{root}{file}", line 80, in {function}\n    return self(x)\n'
        for file, function in (frame.split(" ") for frame in lines)
    )
    head = "Traceback (most recent call last):\n" if frames else ""
    return (
        f"got prompt\n{before}!!! Exception during processing !!! {error}\n{head}{trace}"
        f"RuntimeError: {error}\nPrompt executed in 12.10 seconds\n"
    )


def only(log: str, of: str) -> Finding:
    return next(each for each in diagnose(log).findings if each.id == of)


SAMPLED = "100%|###| 4/4 [00:40<00:00, 10.00s/it]\nRequested to load WanVAE\n"
KSAMPLER = ("nodes.py common_ksampler", "comfy/samplers.py sample")


@for_each(
    "frames, where, remedy",
    [
        (("comfy/text_encoders/t5.py forward",), "while the text was encoded", "an fp8 text encoder"),
        (("nodes.py encode", "comfy/sd.py encode_from_tokens"), "while the text", "an fp8 text encoder"),
        ((f"{WRAPPER}/wanvideo/modules/t5.py forward",), "while the text", "an fp8 text encoder"),
        (("comfy/clip_vision.py encode_image", "comfy/clip_model.py forward"), "start image", "a smaller"),
        (KSAMPLER, "while it sampled", "fewer frames"),
        ((*KSAMPLER, "comfy/ldm/wan/model.py forward"), "while it sampled", "fewer frames"),
        (
            (*KSAMPLER, "comfy/ldm/wan/model.py forward", "comfy/ldm/modules/attention.py attention_pytorch"),
            "while it sampled", "fewer frames",
        ),
        (
            (*KSAMPLER, "comfy/ldm/wan/model.py forward", "custom_nodes/ComfyUI-KJNodes/nodes.py patched"),
            "while it sampled", "fewer frames",
        ),
        (
            (*KSAMPLER, "comfy/model_management.py load_models_gpu", "comfy/model_patcher.py load"),
            "while a model was loaded", "a file of fewer bits",
        ),
        (("nodes.py load_unet", "comfy/sd.py load_diffusion_model"), "while a model", "a file of fewer bits"),
        (("nodes.py decode", "comfy/sd.py decode", "comfy/ldm/wan/vae.py forward"), "in the VAE,", "VAEDec"),
        (("nodes.py encode", "comfy/sd.py encode", "comfy/ldm/wan/vae2_2.py forward"), "in the VAE,", "VAED"),
        ((f"{WRAPPER}/wanvideo/wan_video_vae.py decode",), "in the VAE,", "VAEDecodeTiled in place"),
        (("comfy/sd.py decode", "comfy/sd.py decode_tiled_3d"), "in tiles", "VAEDecodeTiled with a smaller"),
        (("comfy_extras/nodes_upscale_model.py upscale",), "were upscaled", "fewer frames at a time (Image"),
        (("custom_nodes/ComfyUI-SeedVR2_VideoUpscaler/a.py run",), "were upscaled", "fewer frames at a time"),
        (
            ("custom_nodes/ComfyUI-Frame-Interpolation/vfi_models/rife/__init__.py vfi",
             "custom_nodes/ComfyUI-Frame-Interpolation/vfi_utils.py generic_frame_loop"),
            "were interpolated", "fewer frames at a time (a lower",
        ),
        ((f"{WRAPPER}/nodes_sampler.py process",), "while WanVideoWrapper sampled", "WanVideoBlockSwap"),
        ((f"{WRAPPER}/wanvideo/modules/model.py forward",), "WanVideoWrapper sampled", "WanVideoBlockSwap"),
        ((f"{WRAPPER}/nodes_model_loading.py loadmodel",), "while a model was", "a file of fewer bits"),
        (("custom_nodes/Somebody-Else/nodes.py run",), "in the custom node Somebody-Else", "what that node"),
        (("somewhere/else.py run",), "most likely in the VAE", "VAEDecodeTiled in place"),
        ((), "most likely in the VAE", "VAEDecodeTiled in place"),
    ],
)  # fmt: skip
def test_the_frame_that_is_called_last_says_where_the_card_ran_out_of_memory(
    frames: tuple[str, ...], where: str, remedy: str
) -> None:
    finding = only(failing("Allocation on device", *frames, before=SAMPLED), "out-of-memory")
    on_windows = failing("Allocation on device", *frames, before=SAMPLED, root="C:\\ComfyUI\\")

    assert where in finding.message
    assert finding.remedy.startswith(remedy)
    assert ("no traceback" in finding.remedy) is ("most likely" in finding.message)
    assert only(on_windows.replace("/ComfyUI/", "\\"), "out-of-memory").message == finding.message


def test_a_traceback_of_an_error_that_a_node_has_caught_says_nothing_of_the_next() -> None:
    caught = 'Traceback:\n  File "/ComfyUI/comfy/ldm/wan/vae.py", line 8, in forward\nRuntimeError: other\n'
    asked = "Requested to load WanTEModel\n"

    finding = only(failing("Allocation on device", before=caught + asked), "out-of-memory")

    assert "most likely while the text was encoded" in finding.message


NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"
CONV = (
    "Given groups=1, weight of size [{}], expected input[1, {}, 21, 60, 104] to have {} channels, "
    "but got {} channels instead"
)


@for_each(
    "error, remedy",
    [
        ("Error while deserializing header: incomplete metadata, file not fully covered", "broken off"),
        ("Error while deserializing header: MetadataIncompleteBuffer", "broken off"),
        ("PytorchStreamReader failed reading zip archive: failed finding central directory", "broken off"),
        ("Error while deserializing header: HeaderTooLarge", "a web page, a Git LFS pointer"),
        ("Error while deserializing header: header too large", "a web page, a Git LFS pointer"),
        ("Error while deserializing header: invalid JSON in header: EOF while parsing", "Git LFS pointer"),
        ("invalid load key, '<'.", "a web page, a Git LFS pointer"),
        ("GGUF magic invalid", "a web page, a Git LFS pointer"),
        ("mat1 and mat2 shapes cannot be multiplied (512x768 and 4096x5120)", "WAN takes umt5_xxl"),
        ("mat1 and mat2 shapes cannot be multiplied (77x768 and 4096x1536)", "WAN takes umt5_xxl"),
        ("mat1 and mat2 shapes cannot be multiplied (257x1024 and 1280x1280)", "clip_vision_h"),
        ("mat1 and mat2 shapes cannot be multiplied (77x2048 and 768x320)", "two models do not fit"),
        (CONV.format("5120, 36, 1, 2, 2", 32, 36, 32), "without its mask"),
        (CONV.format("5120, 36, 1, 2, 2", 16, 36, 16), "an I2V model without a start image"),
        (CONV.format("5120, 16, 1, 2, 2", 36, 16, 36), "a T2V model that was given a start image"),
        (CONV.format("48, 48, 1, 1, 1", 16, 48, 16), "of 5B alone"),
        (CONV.format("16, 16, 1, 1, 1", 48, 16, 48), "of 5B alone"),
        (CONV.format("320, 4, 3, 3", 16, 4, 16), "model and input do not fit"),
        ("The size of tensor a (48) must match the size of tensor b (16) at non-singleton dimension 1", "5B"),
        ("The size of tensor a (77) must match the size of tensor b (154) at dimension 1", "differ in size"),
        ("The paging file is too small for this operation to complete. (os error 1455)", "a larger page"),
        ("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory", "the container's"),
        ("[Errno 28] No space left on device", "make room on the disk"),
        ("No module named 'sageattention'", "pip install` the package that has sageattention"),
        ("Failed to find C compiler. Please specify via CC environment variable.", "a C compiler"),
        ("Command '['/usr/bin/gcc', '/tmp/x/main.c']' returned non-zero exit status 1.", "a C compiler"),
        ("Cannot find a working triton installation. It is too old.", "install triton"),
        ("Torch not compiled with CUDA enabled", "this torch computes on no card"),
        ("The NVIDIA driver on your system is too old (found version 11040).", "update the card's driver"),
        ("CUDA error: an illegal memory access was encountered", "CUDA_LAUNCH_BLOCKING=1"),
        ("CUDA error: device-side assert triggered", "the cause is not known"),
        ("ERROR: Could not detect model type of: /models/wan.safetensors", "does not know the model"),
        ("ERROR: clip input is invalid: None", "CLIPLoader"),
        ("Unexpected architecture type in GGUF file: 'wan'", "update ComfyUI-GGUF"),
        ("LTXVImgToVideo.generate() got an unexpected keyword argument 'strength'", "update ComfyUI and"),
        ("[Errno 2] No such file or directory: '/in/start.png'", "put /in/start.png there"),
        ("Trying to convert Float8_e4m3fn to the MPS backend but it does not have support", "Apple's MPS"),
        ("too many values to unpack (expected 2)", "the cause is not known, and no traceback"),
        (NO_KERNEL, "says whether it is torch"),
    ],
)  # fmt: skip
def test_the_remedy_follows_from_the_words_of_the_error(error: str, remedy: str) -> None:
    finding = only(failing(error), "prompt-failed")

    assert remedy in finding.remedy
    assert finding.message == f"a node failed: {error}"


def test_an_error_that_nobody_knows_is_told_by_where_its_traceback_ends() -> None:
    own = only(failing("'lat_h'", "nodes.py sample", "comfy/ldm/wan/model.py forward"), "prompt-failed")
    others = only(failing("'lat_h'", "custom_nodes/Some-Pack/run.py run"), "prompt-failed")

    assert "not known; the traceback ends in comfy/ldm/wan/model.py, forward" in own.remedy
    assert "update Some-Pack" in others.remedy


@for_each(
    "card, torch, remedy",
    [
        ("NVIDIA GeForce RTX 5090", "2.5.1+cu124", "install torch 2.7 or newer of CUDA 12.8"),
        ("NVIDIA GeForce RTX 5090", "2.6.0+cu126", "install torch 2.7 or newer of CUDA 12.8"),
        ("NVIDIA GeForce RTX 5090", "2.8.0+cu128", "a package with kernels of its own"),
        ("NVIDIA GeForce RTX 4090", "2.5.1+cu118", "a package with kernels of its own"),
        ("Tesla V100-SXM2-16GB", "2.9.1+cu130", "install torch of CUDA 12.6"),
        ("Tesla V100-SXM2-16GB", "2.9.1+cu128", "says whether it is torch after all"),
        ("Somebody's Card", "2.9.1+cu128", "says whether it is torch"),
        ("NVIDIA GeForce RTX 5090", "2.9.1+rocm6.4", "says whether it is torch"),
    ],
)
def test_torch_is_blamed_for_missing_kernels_only_where_its_build_has_none(
    card: str, torch: str, remedy: str
) -> None:
    finding = only(SERVER.format(card=card, torch=torch) + failing(NO_KERNEL), "prompt-failed")

    assert remedy in finding.remedy


STEPS = "got prompt\nRequested to load WAN21\n 40%|####      | 8/20 [02:40<04:00, 20.00s/it]\n"


@for_each(
    "ending, of, remedy",
    [
        (SERVER.format(card="NVIDIA GeForce RTX 4090", torch="2.9.1+cu128"), "prompt-failed", "does not say"),
        ("Press any key to continue . . .\n", "prompt-failed", "does not say why"),
        ("Segmentation fault (core dumped)\n", "prompt-failed", "faulthandler"),
        ("Windows fatal exception: access violation\n", "prompt-failed", "faulthandler"),
        ("terminate called after throwing an instance of 'c10::Error'\n", "prompt-failed", "BLOCKING=1"),
        ("Memory access fault by GPU node-1 (Agent handle: 0x5d)\n", "prompt-failed", "SERIALIZE_KERNEL"),
        ("Killed\n", "host-ram-short", "dmesg"),
        ("Out of memory: Killed process 2211 (python3)\n", "host-ram-short", "memory limit"),
    ],
)
def test_a_server_that_ended_under_a_prompt_is_an_error_that_cost_its_steps(
    ending: str, of: str, remedy: str
) -> None:
    first = diagnose(SERVER.format(card="NVIDIA GeForce RTX 4090", torch="2.9.1+cu128") + STEPS + ending)

    finding = first.findings[0]

    assert (finding.id, finding.severity, finding.prompt) == (of, Severity.ERROR, 1)
    assert remedy in finding.remedy
    assert "traceback" not in finding.remedy
    assert finding.cost is not None
    assert finding.cost.seconds == 160.0


def test_sage_that_cannot_be_compiled_wants_a_compiler_and_is_not_praised() -> None:
    failed = "Command '['/usr/bin/gcc', '/tmp/main.c']' returned non-zero exit status 1."
    calls = f"Error running sage attention: {failed}, using pytorch attention instead.\n"
    log = (
        SERVER.format(card="NVIDIA GeForce RTX 4090", torch="2.9.1+cu128") + "Using sage attention\n" + STEPS
    )

    report = diagnose(log + calls + "Prompt executed in 170.00 seconds\n")

    finding = next(each for each in report.findings if each.id == "attention-fallback")
    assert "a C compiler" in finding.remedy
    assert "sage-is-slow" not in {each.id for each in report.folklore}


@for_each("doing, remedy", [("decoding", "VAEDecodeTiled in place"), ("encoding", "a smaller start image")])
def test_what_was_done_again_in_tiles_decides_the_remedy(doing: str, remedy: str) -> None:
    retried = f"Ran out of memory when regular VAE {doing}, retrying with tiled VAE {doing}.\n"

    finding = only(f"got prompt\n{retried}Prompt executed in 30.00 seconds\n", "vae-retried")

    assert finding.remedy.startswith(remedy)


IMAGES = "Required input is missing: images"
LEFT_OUT = f"Failed to validate prompt for output 99:\n  - {IMAGES}\nOutput will be ignored\n"


RAN = "100%|###| 4/4 [00:40<00:00, 10.00s/it]\nPrompt executed in 60.00 seconds\n"
REFUSED = "invalid prompt: {'type': 'any', 'message': 'Prompt outputs failed validation'}\n"


@for_each(
    "log, is_refused, is_left_out",
    [
        (f"got prompt\n{LEFT_OUT}{RAN}", False, True),
        (f"got prompt\n{LEFT_OUT}{RAN}got prompt\n{RAN}", False, True),
        (f"got prompt\n{LEFT_OUT}{REFUSED}", True, False),
        (f"got prompt\n{RAN}", False, False),
    ],
)
def test_an_output_that_was_left_out_of_a_prompt_that_ran_is_asked_after(
    log: str, is_refused: bool, is_left_out: bool
) -> None:
    report = diagnose(log)

    assert ("prompt-refused" in {each.id for each in report.findings}) is is_refused
    assert any(IMAGES in each.what for each in report.questions) is is_left_out
