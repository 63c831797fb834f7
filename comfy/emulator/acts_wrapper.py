"""WanVideoWrapper's nodes: it loads, encodes, samples and decodes by itself, and says so in its own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from comfy.emulator.acts_values import number
from comfy.emulator.effort import bring_encoder, bring_model, bring_vae, run_steps
from comfy.emulator.stage import Outcome, Stage, give
from comfy.emulator.values import Audio, Clip, Conditioning, Images, Latent, Model, Vae

_LORA_SLOTS: Final = 5


def _load_model(stage: Stage) -> Outcome:
    loras: tuple[str, ...] = stage.inputs.get("lora") or ()
    for lora in loras:
        name, _, strength = lora.rpartition("@")
        stage.world.console.line(f"Loading LoRA: {name} with strength: {strength}")
    return give(Model(file=stage.inputs["model"], loras=loras))


def _select_lora(stage: Stage) -> Outcome:
    given = stage.inputs
    own = f"{given['lora']}@{given['strength']}"
    return give((*(given.get("prev_lora") or ()), own))


def _select_loras(stage: Stage) -> Outcome:
    given = stage.inputs
    slots = [
        (given.get(f"lora_{slot}", "none"), given.get(f"strength_{slot}")) for slot in range(_LORA_SLOTS)
    ]
    own = [f"{name}@{strength}" for name, strength in slots if name != "none" and strength]
    return give((*(given.get("prev_lora") or ()), *own))


def _set_loras(stage: Stage) -> Outcome:
    model: Model = stage.inputs["model"]
    return give(replace(model, loras=(*model.loras, *(stage.inputs.get("lora") or ()))))


def _load_encoder(stage: Stage) -> Outcome:
    return give(Clip(file=stage.inputs["model_name"]))


def _load_vae(stage: Stage) -> Outcome:
    return give(Vae(file=stage.inputs["model_name"]))


def _encode_text(stage: Stage) -> Outcome:
    stage.need_gpu()
    given = stage.inputs
    clip = given["t5"] if isinstance(given.get("t5"), Clip) else Clip(file=given.get("model_name", "umt5"))
    bring_encoder(stage, clip)
    prompt = given.get("positive_prompt", given.get("prompt", ""))
    return give(Conditioning(text=prompt), Conditioning(text=given.get("negative_prompt", "")), prompt)


def _embeds(stage: Stage) -> Outcome:
    """The shape of the clip to be made, with whatever picture it begins with."""
    given = stage.inputs
    if isinstance(given.get("vae"), Vae) and isinstance(given.get("start_image"), Images):
        bring_vae(stage, given["vae"])
    return give(_latent(given["width"], given["height"], given["num_frames"]))


def _talking_embeds(stage: Stage) -> Outcome:
    given = stage.inputs
    return give(_latent(given["width"], given["height"], given["frame_window_size"]), "")


def _latent(width: int, height: int, frames: int) -> Latent:
    return Latent(width=width // 16 * 16, height=height // 16 * 16, frames=(frames - 1) // 4 * 4 + 1)


def _listen(stage: Stage) -> Outcome:
    """As many frames as the sound lasts, and no more than are asked for."""
    audio = stage.inputs.get("audio_1")
    asked: int = stage.inputs["num_frames"]
    heard = int(audio.duration_s * stage.inputs["fps"]) if isinstance(audio, Audio) else asked
    frames = max(1, min(asked, heard))
    return give(frames, audio, frames)


def _sample(stage: Stage) -> Outcome:
    given = stage.inputs
    stage.need_gpu()
    bring_model(stage, given["model"])
    latent: Latent = given["image_embeds"]
    talking = given.get("multitalk_embeds")
    if isinstance(talking, int):  # the sound says how long it gets, window by window
        latent = replace(latent, frames=talking)
    if isinstance(given.get("samples"), Latent):
        latent = given["samples"]
    total = given["steps"]
    first, last = given.get("start_step", 0), given.get("end_step", -1)
    last = total if last < 0 else min(last, total)
    stage.world.console.line(
        f"Sampling {latent.frames} frames at {latent.width}x{latent.height} with {last - first} steps"
    )
    text = given.get("text_embeds")
    story = latent.story.then(
        f"steps {first}-{last} of {total}, cfg {number(given['cfg'])}, {given['scheduler']}",
        seed=given["seed"] if not latent.story.steps else None,
        prompt=text.text if isinstance(text, Conditioning) else "",
    )
    latent = replace(latent, story=story)
    run_steps(stage, latent, last - first)
    return give(latent, latent)


def _encode(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    bring_vae(stage, stage.inputs["vae"])
    return give(_latent(image.width, image.height, image.count))


WRAPPER_ACTS: Final[Mapping[str, Callable[[Stage], Outcome]]] = {
    "WanVideoModelLoader": _load_model,
    "WanVideoLoraSelect": _select_lora,
    "WanVideoLoraSelectMulti": _select_loras,
    "WanVideoSetLoRAs": _set_loras,
    "LoadWanVideoT5TextEncoder": _load_encoder,
    "WanVideoVAELoader": _load_vae,
    "WanVideoTinyVAELoader": _load_vae,
    "WanVideoTextEncode": _encode_text,
    "WanVideoTextEncodeSingle": _encode_text,
    "WanVideoTextEncodeCached": _encode_text,
    "WanVideoEmptyEmbeds": _embeds,
    "WanVideoImageToVideoEncode": _embeds,
    "WanVideoVACEEncode": _embeds,
    "WanVideoImageToVideoMultiTalk": _talking_embeds,
    "MultiTalkWav2VecEmbeds": _listen,
    "WanVideoSampler": _sample,
    "WanVideoEncode": _encode,
}
