"""What each node class does in here: the sizes, names and numbers of a real run without the pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from PIL import Image

from comfy.emulator import values
from comfy.emulator.clips import frame_rate
from comfy.emulator.console import StepBar
from comfy.emulator.loading import Loadable, LoadMode
from comfy.emulator.pictures import preview_jpeg
from comfy.emulator.places import input_file
from comfy.emulator.saving import SAVERS
from comfy.emulator.stage import Outcome, Stage
from comfy.emulator.values import Clip, Conditioning, Images, Latent, Model, Story, Vae, Video

Act = Callable[[Stage], Outcome]


def perform(stage: Stage) -> Outcome:
    """Run one node; a class without an act of its own passes on what fits."""
    act = ACTS.get(stage.class_type) or SAVERS.get(stage.class_type) or _pass_on
    return act(stage)


def depends_on(stage_inputs: Mapping[str, Any], class_type: str, places: Any) -> Any:
    """What a node's result depends on besides its inputs: for LoadImage the file's content."""
    value = stage_inputs.get("image")
    if class_type not in {"LoadImage", "LoadImageMask"} or not isinstance(value, str):
        return None
    path = input_file(places, value)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _give(*outputs: Any) -> Outcome:
    return Outcome(outputs=outputs)


# --- loaders ------------------------------------------------------------------------------------------------


def _load_unet(stage: Stage) -> Outcome:
    if stage.class_type == "UnetLoaderGGUF":
        stage.world.console.line("gguf qtypes: F32 (694), Q8_0 (400)")
    dtype = "torch.float8_e4m3fn" if "fp8" in stage.inputs["unet_name"] else "torch.float16"
    cast = "torch.float16" if "fp8" in dtype or "float8" in dtype else "None"
    stage.world.console.line(f"model weight dtype {dtype}, manual cast: {cast}")
    stage.world.console.line("model_type FLOW")
    return _give(Model(file=stage.inputs["unet_name"]))


def _load_clip(stage: Stage) -> Outcome:
    device, offload = _devices(stage)
    stage.world.console.line(
        f"CLIP/text encoder model load device: {device}, offload device: {offload}, current: cpu, "
        "dtype: torch.float16"
    )
    return _give(Clip(file=stage.inputs["clip_name"]))


def _load_vae(stage: Stage) -> Outcome:
    device, offload = _devices(stage)
    stage.world.console.line("Using pytorch attention in VAE")
    stage.world.console.line("Using pytorch attention in VAE")
    stage.world.console.line(f"VAE load device: {device}, offload device: {offload}, dtype: torch.bfloat16")
    return _give(Vae(file=stage.inputs["vae_name"]))


def _devices(stage: Stage) -> tuple[str, str]:
    return ("cpu", "cpu") if stage.world.settings.load_mode is LoadMode.CPU else ("cuda:0", "cpu")


def _load_lora(stage: Stage) -> Outcome:
    model: Model = stage.inputs["model"]
    strength = stage.inputs["strength_model"]
    patched = (
        replace(model, loras=(*model.loras, f"{stage.inputs['lora_name']}@{strength}")) if strength else model
    )
    return _give(patched, stage.inputs.get("clip"))


def _bring_unet(stage: Stage, model: Model) -> None:
    low = model.file.lower()
    name = "WAN22" if "5b" in low else "WAN21_Vace" if "vace" in low else "WAN21"
    folder = "unet_gguf" if low.endswith(".gguf") else "diffusion_models"
    loadable = Loadable(
        class_name=name,
        file="|".join((model.file, *model.loras)),
        size_mib=stage.world.shelf.size_mib(folder, model.file),
        is_diffusion_model=True,
        patches=400 * len(model.loras),
    )
    stage.world.residency.bring(loadable, pause=stage.pause)


def _encode_text(stage: Stage) -> Outcome:
    stage.need_gpu()
    clip: Clip = stage.inputs["clip"]
    size_mib = stage.world.shelf.size_mib("text_encoders", clip.file)
    stage.world.residency.bring(
        Loadable(class_name="WanTEModel", file=clip.file, size_mib=size_mib), pause=stage.pause
    )
    return _give(Conditioning(text=stage.inputs["text"]))


def _bring_vae(stage: Stage, vae: Vae) -> None:
    size_mib = stage.world.shelf.size_mib("vae", vae.file)
    stage.world.residency.bring(
        Loadable(class_name="WanVAE", file=vae.file, size_mib=size_mib), pause=stage.pause
    )


# --- latents ------------------------------------------------------------------------------------------------


def _latent(stage: Stage, *, unit: int) -> Latent:
    """The latent for the asked size, rounded as ComfyUI does without a word: to units and to 4n+1 frames."""
    given = stage.inputs
    return Latent(
        width=max(unit, given["width"] // unit * unit),
        height=max(unit, given["height"] // unit * unit),
        frames=(given["length"] - 1) // 4 * 4 + 1,
        batch=given.get("batch_size", 1),
    )


def _empty_video(stage: Stage) -> Outcome:
    return _give(_latent(stage, unit=8))


def _empty_image(stage: Stage) -> Outcome:
    given = stage.inputs
    return _give(Latent(width=given["width"], height=given["height"], frames=1, batch=given["batch_size"]))


def _image_to_video(stage: Stage) -> Outcome:
    stage.need_gpu()
    if stage.inputs.get("start_image") is not None:
        _bring_vae(stage, stage.inputs["vae"])
    return _give(stage.inputs["positive"], stage.inputs["negative"], _latent(stage, unit=8))


def _wan22_latent(stage: Stage) -> Outcome:
    return _give(_latent(stage, unit=16))


# --- sampling -----------------------------------------------------------------------------------------------


def _sample(stage: Stage) -> Outcome:
    given = stage.inputs
    total = given["steps"]
    if stage.class_type == "KSampler":
        first, last, seed = 0, total, given["seed"]
        words = f"{total} steps"
    else:
        first, last, seed = given["start_at_step"], min(total, given["end_at_step"]), given["noise_seed"]
        words = f"steps {first}-{last} of {total}"
    stage.need_gpu()
    _bring_unet(stage, given["model"])
    latent: Latent = given["latent_image"]
    adds_noise = given.get("add_noise", "enable") == "enable"
    story = latent.story.then(
        f"{words}, cfg {given['cfg']:g}, {given['sampler_name']}/{given['scheduler']}",
        seed=seed if adds_noise else None,
        prompt=given["positive"].text if isinstance(given["positive"], Conditioning) else "",
    )
    latent = replace(latent, story=story)
    _run_steps(stage, latent, max(0, last - first))
    return _give(latent)


def _run_steps(stage: Stage, latent: Latent, steps: int) -> None:
    if steps == 0:
        return
    bar = StepBar(stage.world.console, steps)
    step_s = stage.world.settings.step_s
    elapsed_s = 0.0
    for step in range(1, steps + 1):
        stage.pause(step_s)
        elapsed_s += step_s * stage.slowness()
        bar.step(step, elapsed_s)
        preview = None
        if stage.world.settings.previews:
            preview = preview_jpeg(latent.story, latent.width, latent.height, step, steps)
        stage.progress(step, steps, preview=preview)
    bar.close()


def _decode(stage: Stage) -> Outcome:
    stage.need_gpu()
    _bring_vae(stage, stage.inputs["vae"])
    latent: Latent = stage.inputs["samples"]
    stage.pause(stage.world.settings.step_s)
    return _give(
        Images(
            width=latent.width, height=latent.height, count=latent.frames * latent.batch, story=latent.story
        )
    )


def _encode_images(stage: Stage) -> Outcome:
    pixels: Images = stage.inputs["pixels"]
    _bring_vae(stage, stage.inputs["vae"])
    return _give(Latent(width=pixels.width // 8 * 8, height=pixels.height // 8 * 8, frames=pixels.count))


# --- pictures -----------------------------------------------------------------------------------------------


def _empty_picture(stage: Stage) -> Outcome:
    given = stage.inputs
    # The colour goes into the pattern: two jobs of other colours give other files.
    story = Story(seed=given["color"])
    return _give(Images(width=given["width"], height=given["height"], count=given["batch_size"], story=story))


def _load_image(stage: Stage) -> Outcome:
    path = input_file(stage.world.settings.places, stage.inputs["image"])
    with Image.open(path) as picture:
        width, height = picture.size
    return _give(Images(width=width, height=height, count=1), None)


def _scale(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    width, height = stage.inputs["width"], stage.inputs["height"]
    # 0 means: as the other side and the proportions want it. Both 0: as it is.
    if width == 0 and height == 0:
        width, height = image.width, image.height
    elif width == 0:
        width = max(1, round(image.width * height / image.height))
    elif height == 0:
        height = max(1, round(image.height * width / image.width))
    return _give(replace(image, width=width, height=height))


def _scale_by(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    factor = stage.inputs["scale_by"]
    return _give(replace(image, width=round(image.width * factor), height=round(image.height * factor)))


def _from_batch(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    first = min(image.count - 1, stage.inputs["batch_index"])
    return _give(replace(image, count=min(image.count - first, stage.inputs["length"])))


def _repeat(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    return _give(replace(image, count=image.count * stage.inputs["amount"]))


def _interpolate(stage: Stage) -> Outcome:
    frames: Images = stage.inputs["frames"]
    count = (frames.count - 1) * stage.inputs["multiplier"] + 1
    stage.world.console.line(
        f"Comfy-VFI done! {count} frames generated at resolution: {frames.width}x{frames.height}"
    )
    return _give(replace(frames, count=count))


def _create_video(stage: Stage) -> Outcome:
    return _give(Video(images=stage.inputs["images"], fps=frame_rate(stage.inputs["fps"])))


def _value(stage: Stage) -> Outcome:
    return _give(stage.inputs.get("value"))


def _model_as_it_is(stage: Stage) -> Outcome:
    return _give(stage.inputs["model"])


def _pass_on(stage: Stage) -> Outcome:
    """For a class that is not acted out: each output is an input of its type, or something of that type."""
    definition = stage.world.definitions()[stage.class_type]
    given: dict[str, Any] = {}
    for wanted in definition.inputs:
        if stage.inputs.get(wanted.name) is not None:
            given.setdefault(wanted.kind, stage.inputs[wanted.name])
    return Outcome(
        outputs=tuple(given.get(output.kind, values.stand_in(output.kind)) for output in definition.outputs)
    )


ACTS: Final[Mapping[str, Act]] = {
    "UNETLoader": _load_unet,
    "UnetLoaderGGUF": _load_unet,
    "CLIPLoader": _load_clip,
    "VAELoader": _load_vae,
    "LoraLoader": _load_lora,
    "LoraLoaderModelOnly": _load_lora,
    "CLIPTextEncode": _encode_text,
    "ModelSamplingSD3": _model_as_it_is,
    "EmptyHunyuanLatentVideo": _empty_video,
    "EmptyLatentImage": _empty_image,
    "WanImageToVideo": _image_to_video,
    "WanFirstLastFrameToVideo": _image_to_video,
    "Wan22ImageToVideoLatent": _wan22_latent,
    "KSampler": _sample,
    "KSamplerAdvanced": _sample,
    "VAEDecode": _decode,
    "VAEDecodeTiled": _decode,
    "VAEEncode": _encode_images,
    "LoadImage": _load_image,
    "EmptyImage": _empty_picture,
    "ImageScale": _scale,
    "ImageScaleBy": _scale_by,
    "ImageFromBatch": _from_batch,
    "RepeatImageBatch": _repeat,
    "RIFE VFI": _interpolate,
    "CreateVideo": _create_video,
    "PrimitiveInt": _value,
    "PrimitiveFloat": _value,
    "PrimitiveString": _value,
    "PrimitiveStringMultiline": _value,
    "PrimitiveBoolean": _value,
}
