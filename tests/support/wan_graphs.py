"""Graphs as people build them, in few words: each shape that the graph code has to read."""

from __future__ import annotations

from typing import Any

Graph = dict[str, Any]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node."""
    return {"class_type": class_type, "inputs": inputs}


def a14b_by_switches(*, few_steps: bool = False) -> Graph:
    """ComfyUI's own WAN 2.2 image-to-video workflow: one boolean chooses steps, split, cfg and LoRAs.

    Source: the template video_wan2_2_14B_i2v of the package comfyui-workflow-templates.
    """

    def switch(off: Any, on: Any) -> dict[str, Any]:
        return node("ComfySwitchNode", switch=["131", 0], on_false=off, on_true=on)

    return {
        "97": node("LoadImage", image="start.png"),
        "84": node("CLIPLoader", clip_name="umt5.safetensors", type="wan", device="default"),
        "90": node("VAELoader", vae_name="wan_2.1_vae.safetensors"),
        "95": node("UNETLoader", unet_name="wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors"),
        "96": node("UNETLoader", unet_name="wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors"),
        "101": node("LoraLoaderModelOnly", model=["95", 0], lora_name="4steps_high_noise.safetensors"),
        "102": node("LoraLoaderModelOnly", model=["96", 0], lora_name="4steps_low_noise.safetensors"),
        "131": node("PrimitiveBoolean", value=few_steps),
        "116": switch(["95", 0], ["101", 0]),
        "117": switch(["96", 0], ["102", 0]),
        "118": node("PrimitiveInt", value=4),
        "128": node("PrimitiveInt", value=20),
        "119": switch(["128", 0], ["118", 0]),
        "124": node("PrimitiveInt", value=2),
        "127": node("PrimitiveInt", value=10),
        "125": switch(["127", 0], ["124", 0]),
        "122": node("PrimitiveFloat", value=1.0),
        "126": node("PrimitiveFloat", value=3.5),
        "120": switch(["126", 0], ["122", 0]),
        "104": node("ModelSamplingSD3", model=["116", 0], shift=5.0),
        "103": node("ModelSamplingSD3", model=["117", 0], shift=5.0),
        "93": node("CLIPTextEncode", clip=["84", 0], text="a dragon"),
        "89": node("CLIPTextEncode", clip=["84", 0], text="blurry"),
        "161": node("PrimitiveFloat", value=5),
        "162": node("PrimitiveFloat", value=16.0),
        "163": node(
            "ComfyMathExpression",
            **{"expression": "floor (a * b + 1)", "values.a": ["161", 0], "values.b": ["162", 0]},
        ),
        "98": node(
            "WanImageToVideo",
            positive=["93", 0],
            negative=["89", 0],
            vae=["90", 0],
            start_image=["97", 0],
            width=640,
            height=640,
            length=["163", 1],
            batch_size=1,
        ),
        "86": _advanced("104", ["98", 2], noise=True, start_at_step=0, end_at_step=["125", 0]),
        "85": _advanced("103", ["86", 0], noise=False, start_at_step=["125", 0], end_at_step=10000),
        "87": node("VAEDecode", samples=["85", 0], vae=["90", 0]),
        "94": node("CreateVideo", images=["87", 0], fps=["162", 0]),
        "108": node("SaveVideo", video=["94", 0], filename_prefix="video/i2v", format="auto", codec="auto"),
    }


def _advanced(model: str, latent: list[Any], *, noise: bool, **inputs: Any) -> dict[str, Any]:
    return node(
        "KSamplerAdvanced",
        add_noise="enable" if noise else "disable",
        return_with_leftover_noise="enable" if noise else "disable",
        noise_seed=7 if noise else 0,
        steps=["119", 0],
        cfg=["120", 0],
        sampler_name="euler",
        scheduler="simple",
        model=[model, 0],
        positive=["98", 0],
        negative=["98", 1],
        latent_image=latent,
        **inputs,
    )


def wrapper_i2v(suffix: str = "") -> Graph:
    """WanVideoWrapper's image to video with both experts, LoRAs, block swap and shared numbers.

    Source: the structure of new_Wan22_api.json of https://github.com/wlsdml1114/generate_video .
    """
    sampling = {"text_embeds": ["16", 0], "image_embeds": ["63", 0], "steps": ["85", 0], "cfg": 1.0}
    return {
        "11": node(f"LoadWanVideoT5TextEncoder{suffix}", model_name="umt5-xxl-enc-bf16.safetensors"),
        "16": node(
            f"WanVideoTextEncode{suffix}", t5=["11", 0], positive_prompt="a cat", negative_prompt="blurry"
        ),
        "38": node(f"WanVideoVAELoader{suffix}", model_name="Wan2_1_VAE_bf16.safetensors"),
        "39": node("WanVideoBlockSwap", blocks_to_swap=25),
        "58": node("LoadImage", image="start.png"),
        "68": node(
            "ImageResizeKJv2", image=["58", 0], width=["80", 0], height=["81", 0], keep_proportion="crop"
        ),
        "63": node(
            f"WanVideoImageToVideoEncode{suffix}",
            vae=["38", 0],
            start_image=["68", 0],
            width=["80", 0],
            height=["81", 0],
            num_frames=["82", 0],
        ),
        "80": node("INTConstant", value=832),
        "81": node("INTConstant", value=480),
        "82": node("INTConstant", value=81),
        "84": node("INTConstant", value=4),
        "85": node("INTConstant", value=8),
        "22": node(
            f"WanVideoModelLoader{suffix}",
            model="Wan22/Wan2_2-I2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors",
            lora=["56", 0],
        ),
        "71": node(
            f"WanVideoModelLoader{suffix}",
            model="Wan22/Wan2_2-I2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors",
            block_swap_args=["39", 0],
        ),
        "56": node("WanVideoLoraSelect", lora="style.safetensors", strength=0.5, prev_lora=["57", 0]),
        "57": node("WanVideoLoraSelect", lora="lightx2v_HIGH.safetensors", strength=1.0),
        "97": node(
            "WanVideoLoraSelectMulti", lora_0="lightx2v_LOW.safetensors", strength_0=1.2, lora_1="none"
        ),
        "79": node("WanVideoSetLoRAs", model=["71", 0], lora=["97", 0]),
        "70": node("WanVideoSetBlockSwap", model=["22", 0], block_swap_args=["39", 0]),
        "27": node(
            f"WanVideoSampler{suffix}",
            model=["70", 0],
            seed=5,
            start_step=0,
            end_step=["84", 0],
            shift=8.0,
            scheduler="dpm++_sde",
            **sampling,
        ),
        "90": node(
            f"WanVideoSampler{suffix}",
            model=["79", 0],
            samples=["27", 0],
            seed=6,
            start_step=["84", 0],
            end_step=-1,
            shift=8.0,
            scheduler="dpm++_sde",
            **sampling,
        ),
        "28": node(f"WanVideoDecode{suffix}", vae=["38", 0], samples=["90", 0], enable_vae_tiling=False),
        "29": node("WanVideoDecode", vae=["38", 0], samples=["27", 0], enable_vae_tiling=False),
        "50": node("RIFE VFI", frames=["28", 0], ckpt_name="rife47.pth", multiplier=2),
        "60": node("VHS_VideoCombine", images=["50", 0], frame_rate=32, format="video/h264-mp4"),
    }


def custom_sampling() -> Graph:
    """One model through SamplerCustomAdvanced, whose settings stand in five nodes; no negative prompt."""
    return {
        "1": node("UnetLoaderGGUF", unet_name="wan2.1-t2v-14b-Q4_K_M.gguf"),
        "2": node("CLIPLoaderGGUF", clip_name="umt5-xxl-Q8_0.gguf", type="wan"),
        "3": node("VAELoader", vae_name="wan_2.1_vae.safetensors"),
        "4": node("CLIPTextEncode", clip=["2", 0], text=["5", 0]),
        "5": node("PrimitiveStringMultiline", value="a lake"),
        "6": node("ConditioningZeroOut", conditioning=["4", 0]),
        "7": node("EasyCache", model=["1", 0], reuse_threshold=0.2),
        "8": node("CFGGuider", model=["7", 0], positive=["4", 0], negative=["6", 0], cfg=1.0),
        "9": node("RandomNoise", noise_seed=11),
        "10": node("KSamplerSelect", sampler_name="lcm"),
        "11": node("BasicScheduler", model=["7", 0], scheduler="simple", steps=6, denoise=1.0),
        "12": node("EmptyHunyuanLatentVideo", width=480, height=832, length=49, batch_size=1),
        "13": node(
            "SamplerCustomAdvanced",
            noise=["9", 0],
            guider=["8", 0],
            sampler=["10", 0],
            sigmas=["11", 0],
            latent_image=["12", 0],
        ),
        "14": node("VAEDecodeTiled", samples=["13", 0], vae=["3", 0]),
        "15": node("ImageScaleBy", image=["14", 0], upscale_method="lanczos", scale_by=2.0),
        "16": node("SaveAnimatedWEBP", images=["15", 0], fps=24.0, filename_prefix="x"),
        "17": node("PreviewImage", images=["14", 0]),
    }
