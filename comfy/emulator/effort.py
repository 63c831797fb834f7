"""What takes time and memory in a run: models brought to the card, steps sampled, pictures decoded."""

from __future__ import annotations

from dataclasses import replace

from comfy.emulator.console import StepBar
from comfy.emulator.loading import Loadable
from comfy.emulator.pictures import preview_jpeg
from comfy.emulator.stage import Stage
from comfy.emulator.values import Clip, Images, Latent, Model, Vae

_PATCHES_OF_A_LORA = 400


def bring_model(stage: Stage, model: Model) -> None:
    """Have a diffusion model on the card."""
    low = model.file.lower()
    name = "WAN22" if "5b" in low else "WAN21_Vace" if "vace" in low else "WAN21"
    folder = "unet_gguf" if low.endswith(".gguf") else "diffusion_models"
    loadable = Loadable(
        class_name=name,
        file="|".join((model.file, *model.loras)),
        size_mib=stage.world.shelf.size_mib(folder, model.file),
        is_diffusion_model=True,
        patches=_PATCHES_OF_A_LORA * len(model.loras),
    )
    stage.world.residency.bring(loadable, pause=stage.pause)


def bring_encoder(stage: Stage, clip: Clip) -> None:
    """Have a text encoder on the card."""
    size_mib = stage.world.shelf.size_mib("text_encoders", clip.file)
    stage.world.residency.bring(
        Loadable(class_name="WanTEModel", file=clip.file, size_mib=size_mib), pause=stage.pause
    )


def bring_vae(stage: Stage, vae: Vae) -> None:
    """Have a VAE on the card."""
    size_mib = stage.world.shelf.size_mib("vae", vae.file)
    stage.world.residency.bring(
        Loadable(class_name="WanVAE", file=vae.file, size_mib=size_mib), pause=stage.pause
    )


def run_steps(stage: Stage, latent: Latent, steps: int) -> None:
    """Sample so many steps, telling of each."""
    if steps <= 0:
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


def decode(stage: Stage, vae: Vae, latent: Latent) -> Images:
    """Turn a latent into pictures."""
    stage.need_gpu()
    bring_vae(stage, vae)
    stage.pause(stage.world.settings.step_s)
    story = replace(latent.story, spoilt=stage.spoilt())
    return Images(width=latent.width, height=latent.height, count=latent.frames * latent.batch, story=story)
