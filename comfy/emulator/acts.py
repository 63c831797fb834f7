"""What each node class does in here: the sizes, names and numbers of a real run without the pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from comfy.emulator import values
from comfy.emulator.acts_media import MEDIA_ACTS
from comfy.emulator.acts_values import VALUE_ACTS, number
from comfy.emulator.acts_wrapper import WRAPPER_ACTS
from comfy.emulator.effort import bring_encoder, bring_model, bring_vae, decode, run_steps
from comfy.emulator.folders import input_file
from comfy.emulator.loading import LoadMode
from comfy.emulator.saving import SAVERS
from comfy.emulator.stage import Outcome, Stage, give
from comfy.emulator.values import Clip, Conditioning, Guider, Images, Latent, Model, Story, Vae
from comfy.node_defs.dynamic_inputs import inputs_for
from comfy.node_defs.node_classes import base_class, node_class

Act = Callable[[Stage], Outcome]

_FRAMES_OF_A_LATENT: Final = 4


def perform(stage: Stage) -> Outcome:
    """Run one node; a class without an act of its own passes on what fits."""
    outcome = _act_for(stage)(stage)
    return replace(outcome, outputs=_filled(stage, outcome.outputs))


def _act_for(stage: Stage) -> Act:
    # MultiGPU's forms (UNETLoaderMultiGPU, …DisTorch2MultiGPU) do what the nodes do that they wrap.
    name = base_class(stage.class_type)
    act = ACTS.get(name) or SAVERS.get(name)
    return act or (_condition if _conditions(stage) else _pass_on)


def _conditions(stage: Stage) -> bool:
    """Whether the node gives positive, negative and a latent of a size that it is told."""
    kinds = [output.kind for output in stage.world.definitions()[stage.class_type].outputs[:3]]
    sized = "length" in stage.inputs and ("width" in stage.inputs or "video_latent" in stage.inputs)
    return sized and kinds == ["CONDITIONING", "CONDITIONING", "LATENT"]


def depends_on(stage_inputs: Mapping[str, Any], class_type: str, folders: Any) -> Any:
    """What a node's result depends on besides its inputs: the content of the file it loads."""
    value = stage_inputs.get(node_class(class_type).input_file or "")
    if not isinstance(value, str):
        return None
    path = input_file(folders, value)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


# --- loaders ------------------------------------------------------------------------------------------------


def _load_unet(stage: Stage) -> Outcome:
    if "GGUF" in stage.class_type:
        stage.world.console.line("gguf qtypes: F32 (694), Q8_0 (400)")
    dtype = "torch.float8_e4m3fn" if "fp8" in stage.inputs["unet_name"] else "torch.float16"
    cast = "torch.float16" if "fp8" in dtype or "float8" in dtype else "None"
    stage.world.console.line(f"model weight dtype {dtype}, manual cast: {cast}")
    stage.world.console.line("model_type FLOW")
    return give(Model(file=stage.inputs["unet_name"]))


def _load_clip(stage: Stage) -> Outcome:
    device, offload = _devices(stage)
    stage.world.console.line(
        f"CLIP/text encoder model load device: {device}, offload device: {offload}, current: cpu, "
        "dtype: torch.float16"
    )
    return give(Clip(file=stage.inputs["clip_name"]))


def _load_vae(stage: Stage) -> Outcome:
    device, offload = _devices(stage)
    stage.world.console.line("Using pytorch attention in VAE")
    stage.world.console.line("Using pytorch attention in VAE")
    stage.world.console.line(f"VAE load device: {device}, offload device: {offload}, dtype: torch.bfloat16")
    return give(Vae(file=stage.inputs["vae_name"]))


def _devices(stage: Stage) -> tuple[str, str]:
    return ("cpu", "cpu") if stage.world.settings.load_mode is LoadMode.CPU else ("cuda:0", "cpu")


def _load_lora(stage: Stage) -> Outcome:
    model: Model = stage.inputs["model"]
    strength = stage.inputs["strength_model"]
    patched = (
        replace(model, loras=(*model.loras, f"{stage.inputs['lora_name']}@{strength}")) if strength else model
    )
    return give(patched, stage.inputs.get("clip"))


def _encode_text(stage: Stage) -> Outcome:
    stage.need_gpu()
    clip: Clip = stage.inputs["clip"]
    bring_encoder(stage, clip)
    return give(Conditioning(text=stage.inputs["text"]))


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
    return give(_latent(stage, unit=8))


def _empty_image(stage: Stage) -> Outcome:
    given = stage.inputs
    return give(Latent(width=given["width"], height=given["height"], frames=1, batch=given["batch_size"]))


def _condition(stage: Stage) -> Outcome:
    """A node that gives positive, negative and the latent of a clip: WanImageToVideo and its many kin."""
    stage.need_gpu()
    given = stage.inputs
    if isinstance(given.get("vae"), Vae) and any(isinstance(value, Images) for value in given.values()):
        bring_vae(stage, given["vae"])
    before = given.get("video_latent")
    if isinstance(before, Latent):
        frames = (given["length"] - 1) // 4 * 4 + 1
        return give(given["positive"], given["negative"], replace(before, frames=frames, story=Story()))
    latent = _latent(stage, unit=8)
    # VACE puts the latent of a reference picture in front, and says how much to cut off again.
    extra = 1 if stage.class_type == "WanVaceToVideo" and given.get("reference_image") is not None else 0
    latent = replace(latent, frames=latent.frames + _FRAMES_OF_A_LATENT * extra)
    return give(given["positive"], given["negative"], latent, extra)


def _trim(stage: Stage) -> Outcome:
    latent: Latent = stage.inputs["samples"]
    frames = latent.frames - _FRAMES_OF_A_LATENT * stage.inputs["trim_amount"]
    return give(replace(latent, frames=max(1, frames)))


def _concatenate(stage: Stage) -> Outcome:
    first: Latent = stage.inputs["samples1"]
    second: Latent = stage.inputs["samples2"]
    if stage.inputs["dim"] not in {"t", "-t"}:
        return give(first)
    latents = (first.frames - 1) // _FRAMES_OF_A_LATENT + (second.frames - 1) // _FRAMES_OF_A_LATENT + 2
    return give(replace(first, frames=(latents - 1) * _FRAMES_OF_A_LATENT + 1))


def _wan22_latent(stage: Stage) -> Outcome:
    return give(_latent(stage, unit=16))


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
    bring_model(stage, given["model"])
    latent: Latent = given["latent_image"]
    adds_noise = given.get("add_noise", "enable") == "enable"
    story = latent.story.then(
        f"{words}, cfg {given['cfg']:g}, {given['sampler_name']}/{given['scheduler']}",
        seed=seed if adds_noise else None,
        prompt=given["positive"].text if isinstance(given["positive"], Conditioning) else "",
    )
    latent = replace(latent, story=story)
    run_steps(stage, latent, last - first)
    return give(latent)


def _sample_custom(stage: Stage) -> Outcome:
    """SamplerCustomAdvanced (with a guider) and SamplerCustom (with a model and a prompt)."""
    given = stage.inputs
    guider = given.get("guider")
    if not isinstance(guider, Guider):
        guider = Guider(model=given["model"], positive=given["positive"], cfg=given["cfg"])
    noise = given.get("noise", given.get("noise_seed"))
    steps = given["sigmas"] if isinstance(given["sigmas"], int) else 1
    stage.need_gpu()
    bring_model(stage, guider.model)
    latent: Latent = given["latent_image"]
    story = latent.story.then(
        f"{steps} steps, cfg {number(guider.cfg)}",
        seed=noise if isinstance(noise, int) else None,
        prompt=guider.positive.text if isinstance(guider.positive, Conditioning) else "",
    )
    latent = replace(latent, story=story)
    run_steps(stage, latent, steps)
    return give(latent, latent)


def _guide(stage: Stage) -> Outcome:
    given = stage.inputs
    positive = given.get("positive", given.get("conditioning"))
    return give(Guider(model=given["model"], positive=positive, cfg=given.get("cfg", 1.0)))


def _noise(stage: Stage) -> Outcome:
    return give(stage.inputs["noise_seed"])


def _sigmas(stage: Stage) -> Outcome:
    return give(max(1, round(stage.inputs["steps"] * stage.inputs.get("denoise", 1.0))))


def _decode(stage: Stage) -> Outcome:
    return give(decode(stage, stage.inputs["vae"], stage.inputs["samples"]))


def _encode_images(stage: Stage) -> Outcome:
    pixels: Images = stage.inputs["pixels"]
    bring_vae(stage, stage.inputs["vae"])
    return give(Latent(width=pixels.width // 8 * 8, height=pixels.height // 8 * 8, frames=pixels.count))


def _pass_on(stage: Stage) -> Outcome:
    """For a class that is not acted out: each output is an input of its type, or something of that type."""
    return Outcome(outputs=_filled(stage, ()))


def _filled(stage: Stage, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """These outputs, and for those that the node has besides, what comes nearest."""
    definition = stage.world.definitions()[stage.class_type]
    if len(outputs) >= len(definition.outputs):
        return outputs
    given: dict[str, Any] = {}
    for wanted in inputs_for(definition, stage.inputs):
        if stage.inputs.get(wanted.name) is not None:
            given.setdefault(wanted.kind, stage.inputs[wanted.name])
    rest = definition.outputs[len(outputs) :]
    return (*outputs, *(given.get(output.kind, values.stand_in(output.kind)) for output in rest))


ACTS: Final[Mapping[str, Act]] = {
    **MEDIA_ACTS,
    **VALUE_ACTS,
    **WRAPPER_ACTS,
    "UNETLoader": _load_unet,
    "UnetLoaderGGUF": _load_unet,
    "UnetLoaderGGUFAdvanced": _load_unet,
    "CLIPLoader": _load_clip,
    "CLIPLoaderGGUF": _load_clip,
    "VAELoader": _load_vae,
    "LoraLoader": _load_lora,
    "LoraLoaderModelOnly": _load_lora,
    "CLIPTextEncode": _encode_text,
    "EmptyHunyuanLatentVideo": _empty_video,
    "EmptyLatentImage": _empty_image,
    "Wan22ImageToVideoLatent": _wan22_latent,
    "TrimVideoLatent": _trim,
    "LatentConcat": _concatenate,
    "KSampler": _sample,
    "KSamplerAdvanced": _sample,
    "SamplerCustom": _sample_custom,
    "SamplerCustomAdvanced": _sample_custom,
    "CFGGuider": _guide,
    "BasicGuider": _guide,
    "RandomNoise": _noise,
    "BasicScheduler": _sigmas,
    "VAEDecode": _decode,
    "VAEDecodeTiled": _decode,
    "WanVideoDecode": _decode,
    "VAEEncode": _encode_images,
}
