"""What a node class does with files and values: one table of classes, and what names tell of the rest.

A server's definitions say what a node takes and gives; they do not say from which folder a loader takes its
file, or that a node only hands a value on. Whoever has to know asks here. A class that has no row goes by its
name and by the names of its inputs. What MultiGPU wraps goes by the class within.

Source: ComfyUI nodes.py and comfy_extras; WanVideoWrapper nodes_model_loading.py, nodes_sampler.py;
VideoHelperSuite videohelpersuite/nodes.py, load_video_nodes.py, load_images_nodes.py; KJNodes nodes/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

# Input -> folder below ComfyUI's models/, for classes that name their inputs as ComfyUI's own do.
_MODELS: Final = {
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "vae_name": "vae",
    "lora_name": "loras",
    "ckpt_name": "checkpoints",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "audio_encoder_name": "audio_encoders",
}
OUTPUT_PREFIX: Final = "filename_prefix"  # the input of whatever class that says how its files are called
SAVES_AT_ALL: Final = "save_output"  # the input of whatever class that can send its files to the temp folder
VIDEO_COMBINE: Final = "VHS_VideoCombine"


class Work(StrEnum):
    """What a node of a class is busy with."""

    LOAD = "load"
    TEXT = "text"
    IMAGE = "image"
    SAMPLE = "sample"
    VAE = "vae"
    FRAMES = "frames"
    SAVE = "save"
    OTHER = "other"


class Names(StrEnum):
    """What the text in an input stands for."""

    INPUT_FILE = "input_file"  # a file of ComfyUI's input folder
    MODEL = "model"  # a file below its models folder
    OUTPUT_PREFIX = "output_prefix"
    ANY_FILE = "any_file"  # a file or folder wherever it lies
    PATH = "path"  # likely one, by the input's name


Cast = type[int] | type[float] | type[bool]
Picks = str | Mapping[Any, str]  # the name with "{}" for the value, or the name for each value
Formula = str | tuple[str, Mapping[str, str]]  # over the inputs; or an input, and the formula for each value


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClass:
    """What is known of one class."""

    # Files: the names of the inputs that name them
    models: Mapping[str, str] = field(default_factory=lambda: _MODELS)  # input -> folder below models/
    input_file: str | None = None  # a file of ComfyUI's input folder
    refusal: str | None = None  # ComfyUI's words where the class itself looks whether that file is there
    any_file: str | None = None  # a file or folder wherever it lies

    # Outputs
    is_output: bool = False  # runs for its own sake
    only_shows: bool = False  # and what it makes is not kept
    rate: str | None = None  # the input that says how many frames are shown in a second
    metadata_by_flag: bool = False  # whether the prompt gets into its files is for --disable-metadata to say

    # Values
    hands_on: Mapping[int, str] = field(default_factory=dict)  # output -> the input that leaves there
    sends: str | None = None  # the input that leaves by whichever output a switch chooses
    is_switch: bool = False  # hands on `on_true` or `on_false`, as `switch` says, and never runs the other
    # Output -> the input that says which of the others it hands on, and how these are called
    picks: Mapping[int, tuple[str, Picks]] = field(default_factory=dict)
    first_of: str | None = None  # hands on the first of its inputs whose names begin so
    variables: str | None = None  # calculates a formula: what its inputs' names put before a variable's
    formula: str = "expression"  # the input that holds it
    gives: tuple[Cast, ...] = (float, int, bool)  # and what its outputs give the result as
    formulas: Mapping[int, Formula] = field(default_factory=dict)  # output -> a formula of the class itself

    # Pictures
    tells_side: Mapping[int, str] = field(default_factory=dict)  # output -> side of its picture told there
    sized_by: tuple[str, str] | None = None  # the inputs that say how wide and how high its picture becomes
    # An input, and the values with which both sides become as said; with others they are at most that.
    exact_when: tuple[str, frozenset[Any]] | None = None
    multiple: str | None = None  # the input whose multiples the sides are rounded down to
    scaled_by: str | None = None  # the input whose product with a side of the taken picture is its picture's
    # The inputs that are added to the width and the height of the picture that it takes
    padded_by: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    same_size: bool = False  # its picture is as large as the one it takes
    # The inputs whose product is the area that its picture gets, and in how many pixels they count; the sides
    # follow from the picture that it takes.
    area_of: tuple[tuple[str, ...], int] | None = None
    # Output -> the input that it never exceeds; 0 there is no bound
    bounded_by: Mapping[int, str] = field(default_factory=dict)

    unloads: bool = False  # throws models out of memory as well


WIDTH: Final = "width"
HEIGHT: Final = "height"
_SIDES: Final = (WIDTH, HEIGHT)
FIRST_INPUT: Final = ""  # in `hands_on`: the single input, which has no name in some exports


def _video(input_name: str = "video") -> NodeClass:
    return NodeClass(input_file=input_name, refusal="Invalid video file: {}")


def _loads(**models: str) -> NodeClass:
    return NodeClass(models=models)


def _holds(input_name: str = "value") -> NodeClass:
    return NodeClass(hands_on={0: input_name})


_IMAGE: Final = NodeClass(input_file="image", refusal="Invalid image file: {}")
_CAPPED: Final = {1: "frame_load_cap"}
_PREVIEW: Final = NodeClass(is_output=True, only_shows=True)
_SWITCH: Final = NodeClass(is_switch=True)
_OPERATIONS: Final[Formula] = (
    "operation",
    {"add": "a + b", "subtract": "a - b", "multiply": "a * b", "divide": "a / b", "modulo": "a % b"},
)


def _calculates(formula: str, *gives: Cast) -> NodeClass:
    """A node with a formula of its user's over inputs that are called as the variables are."""
    return NodeClass(variables="", formula=formula, gives=gives)


def _of_two(sign: str) -> NodeClass:
    """The same result as a whole number and as it is."""
    text = f"int_a {sign} int_b"
    return NodeClass(formulas={0: f"int({text})", 1: f"float({text})"})


def _picks(by: str, names: Picks) -> NodeClass:
    """A switch: the input `by` says which of the others leaves by the first output."""
    return NodeClass(picks={0: (by, names)})


def _one_of(yes: str, no: str, by: str = "boolean") -> NodeClass:
    return _picks(by, {True: yes, False: no})


def _sized(tells: Mapping[int, str] | None = None, sides: tuple[str, str] = _SIDES, **more: Any) -> NodeClass:
    return NodeClass(tells_side=tells or {}, sized_by=sides, **more)


CLASSES: Final[Mapping[str, NodeClass]] = {
    # Models under other names, or of another kind. One that names none fetches its own file.
    "CLIPVisionLoader": _loads(clip_name="clip_vision"),
    "UpscaleModelLoader": _loads(model_name="upscale_models"),
    "ModelPatchLoader": _loads(name="model_patches"),
    "DiffusionModelLoaderKJ": _loads(model_name="diffusion_models"),
    "GGUFLoaderKJ": _loads(model_name="diffusion_models"),
    "WanVideoModelLoader": _loads(model="diffusion_models"),
    "WanVideoVACEModelSelect": _loads(vace_model="diffusion_models"),
    "WanVideoExtraModelSelect": _loads(extra_model="diffusion_models"),
    "MultiTalkModelLoader": _loads(model="diffusion_models"),
    "WanVideoVAELoader": _loads(model_name="vae"),
    "WanVideoLoraSelect": _loads(lora="loras"),
    "WanVideoLoraSelectMulti": _loads(**{f"lora_{index}": "loras" for index in range(5)}),
    "LoadWanVideoT5TextEncoder": _loads(model_name="text_encoders"),
    "WanVideoTextEncodeCached": _loads(model_name="text_encoders"),
    "LoadWanVideoClipTextEncoder": _loads(model_name="text_encoders"),
    "WanVideoTinyVAELoader": _loads(model_name="vae_approx"),
    "Wav2VecModelLoader": _loads(model="wav2vec2"),
    "WhisperModelLoader": _loads(model="audio_encoders"),
    "FantasyTalkingModelLoader": _loads(model="diffusion_models"),
    "FantasyPortraitModelLoader": _loads(model="diffusion_models"),
    "LoadLynxResampler": _loads(model_name="diffusion_models"),
    "WanVideoControlnetLoader": _loads(model="controlnet"),
    "WanVideoUni3C_ControlnetLoader": _loads(model="controlnet"),
    "WanVideoFlashVSRDecoderLoader": _loads(model_name="vae"),
    "LoadVQVAE": _loads(model_name="vae"),
    "LoadNLFModel": _loads(nlf_model="nlf"),
    "QwenLoader": _loads(model="text_encoders"),
    "WanVideoPromptExtenderSelect": _loads(model="text_encoders"),
    "FrameInterpolationModelLoader": _loads(model_name="frame_interpolation"),
    "LatentUpscaleModelLoader": _loads(model_name="latent_upscale_models"),
    # Files that come with a job
    "LoadImage": _IMAGE,
    "LoadImageMask": _IMAGE,
    "LoadImageOutput": _IMAGE,
    "LoadAndResizeImage": _IMAGE,
    "LoadAudio": NodeClass(input_file="audio", refusal="Invalid audio file: {}"),
    "LoadVideo": _video("file"),
    "VHS_LoadVideoFFmpeg": _video(),
    "VHS_LoadAudioUpload": NodeClass(input_file="audio"),
    # Files and folders anywhere
    "VHS_LoadVideoPath": NodeClass(
        any_file="video", sized_by=("custom_width", "custom_height"), bounded_by=_CAPPED
    ),
    "VHS_LoadVideoFFmpegPath": NodeClass(any_file="video"),
    "VHS_LoadImagePath": NodeClass(any_file="image"),
    "VHS_LoadImagesPath": NodeClass(any_file="directory"),
    "VHS_LoadAudio": NodeClass(any_file="audio_file"),
    "LoadImagesFromFolderKJ": NodeClass(any_file="folder"),
    # Outputs
    "SaveImage": NodeClass(is_output=True, metadata_by_flag=True),
    "SaveVideo": NodeClass(is_output=True, metadata_by_flag=True),
    "SaveAnimatedWEBP": NodeClass(is_output=True, rate="fps", metadata_by_flag=True),
    "SaveAnimatedPNG": NodeClass(is_output=True, rate="fps", metadata_by_flag=True),
    "SaveWEBM": NodeClass(is_output=True, rate="fps"),
    VIDEO_COMBINE: NodeClass(is_output=True, rate="frame_rate"),
    "CreateVideo": NodeClass(rate="fps"),
    "Image Save": NodeClass(is_output=True),
    "PreviewImage": _PREVIEW,
    "PreviewAny": NodeClass(is_output=True),  # shows a text, which stands in the job's result
    "PreviewAudio": _PREVIEW,
    "PreviewVideo": _PREVIEW,
    "MaskPreview": _PREVIEW,
    # Values
    "PrimitiveInt": _holds(),
    "PrimitiveFloat": _holds(),
    "PrimitiveString": _holds(),
    "PrimitiveStringMultiline": _holds(),
    "PrimitiveBoolean": _holds(),
    "BOOLConstant": _holds(),
    "INTConstant": _holds(),
    "FloatConstant": _holds(),
    "StringConstant": _holds("string"),
    "StringConstantMultiline": _holds("string"),
    "Reroute": _holds(FIRST_INPUT),
    "WanVideoScheduler": NodeClass(hands_on={1: "steps", 2: "shift", 4: "start_step", 5: "end_step"}),
    "WanMoEScheduler": NodeClass(
        hands_on={2: "steps_high", 3: "steps_low"}, formulas={1: "steps_high + steps_low"}
    ),
    "ComfySwitchNode": _SWITCH,
    "ComfySoftSwitchNode": _SWITCH,
    "LazySwitchKJ": _SWITCH,
    # Switches of packs. Source: ComfyUI-Impact-Pack modules/impact/util_nodes.py, logics.py; ComfyUI-Easy-Use
    # py/nodes/logic.py; ComfyUI-Crystools nodes/switch.py; was-node-suite-comfyui WAS_Node_Suite.py;
    # ComfyUI_Comfyroll_CustomNodes nodes/nodes_logic.py; ComfyUI_JPS-Nodes jps-nodes.py; ComfyUI_LayerStyle
    # py/data_nodes.py; ComfyUI-Logic nodes.py; ComfyUI_essentials misc.py; execution-inversion-demo-comfyui
    **dict.fromkeys(
        ("ImpactSwitch", "LatentSwitch", "SEGSSwitch"),
        NodeClass(picks={0: ("select", "input{}")}, hands_on={2: "select"}),
    ),
    **dict.fromkeys(
        ("ImpactConditionalBranch", "ImpactConditionalBranchSelMode"), _one_of("tt_value", "ff_value", "cond")
    ),
    "ImpactInversedSwitch": NodeClass(sends="input"),
    "easy anythingInversedSwitch": NodeClass(sends="in"),
    "easy ifElse": _one_of("on_true", "on_false"),
    "easy anythingIndexSwitch": _picks("index", "value{}"),
    "easy conditioningIndexSwitch": _picks("index", "cond{}"),
    "easy imageIndexSwitch": _picks("index", "image{}"),
    "easy textIndexSwitch": _picks("index", "text{}"),
    "easy textSwitch": _picks("input", "text{}"),
    "easy imageSwitch": _one_of("image_a", "image_b"),
    "Switch from any [Crystools]": NodeClass(sends="any"),
    **{
        f"Switch {kind} [Crystools]": _one_of("on_true", "on_false")
        for kind in ("any", "conditioning", "image", "latent", "mask", "string")
    },
    **{
        f"{kind} Input Switch": _one_of(f"{stem}_a", f"{stem}_b")
        for kind, stem in (
            ("CLIP", "clip"),
            ("CLIP Vision", "clip_vision"),
            ("Conditioning", "conditioning"),
            ("Control Net Model", "control_net"),
            ("Image", "image"),
            ("Latent", "latent"),
            ("Model", "model"),
            ("Text", "text"),
            ("VAE", "vae"),
        )
    },
    "Upscale Model Switch": _one_of("upscale_model_a", "upscale_model_b"),
    "Lora Input Switch": NodeClass(
        picks={
            slot: ("boolean", {True: f"{name}_a", False: f"{name}_b"})
            for slot, name in enumerate(("model", "clip"))
        }
    ),
    **{
        f"CR {kind} Input Switch": _picks("Input", f"{stem}{{}}")
        for kind, stem in (
            ("Clip", "clip"),
            ("Conditioning", "conditioning"),
            ("ControlNet", "control_net"),
            ("Image", "image"),
            ("Latent", "latent"),
            ("Model", "model"),
            ("Pipe", "pipe"),
            ("Text", "text"),
            ("VAE", "VAE"),
        )
    },
    "CR Image Input Switch (4 way)": _picks("Input", "image{}"),
    "CR Text Input Switch (4 way)": _picks("Input", "text{}"),
    "CR Switch Model and CLIP": NodeClass(picks={0: ("Input", "model{}"), 1: ("Input", "clip{}")}),
    **{
        f"{kind} Switch (JPS)": _picks("select", f"{stem}_{{}}")
        for kind, stem in (
            ("Conditioning", "con"),
            ("ControlNet", "ctrlnet"),
            ("Image", "img"),
            ("Integer", "int"),
            ("Latent", "latent"),
            ("Mask", "mask"),
            ("Model", "model"),
            ("VAE", "vae"),
        )
    },
    **dict.fromkeys(
        ("LayerUtility: If", "LayerUtility: If "), _one_of("when_TRUE", "when_FALSE", "if_condition")
    ),
    "If ANY execute A else B": _one_of("IF_TRUE", "IF_FALSE", "ANY"),
    "SimpleCondition+": _one_of("on_true", "on_false", "evaluate"),
    "InversionDemoLazySwitch": _SWITCH,
    "InversionDemoLazyIndexSwitch": _picks("index", "value{}"),
    "FL_Switch": _SWITCH,
    "ComfyMathExpression": NodeClass(variables="values."),
    "SimpleCalculatorKJ": NodeClass(variables="variables."),
    # Values of other packs. Source: ComfyUI-Easy-Use py/nodes/logic.py, seed.py; ComfyUI_essentials misc.py;
    # ComfyUI-Custom-Scripts py/math_expression.py, reroute_primitive.py; ComfyUI_JPS-Nodes jps-nodes.py;
    # ComfyUI-mxToolkit mxtoolkit.py; rgthree-comfy py/seed.py, any_switch.py
    "easy int": _holds(),
    "easy float": _holds(),
    "easy string": _holds(),
    "easy boolean": _holds(),
    "easy seed": _holds("seed"),
    "easy positive": _holds("positive"),
    "easy negative": _holds("negative"),
    "easy convertAnything": replace(_holds("*"), is_output=True, only_shows=True),
    "easy mathInt": NodeClass(formulas={0: _OPERATIONS}),
    "easy mathFloat": NodeClass(formulas={0: _OPERATIONS}),
    "easy simpleMath": _calculates("value", int, float, bool),
    "easy imageSize": NodeClass(tells_side={0: WIDTH, 1: HEIGHT}, is_output=True, only_shows=True),
    "SimpleMath+": _calculates("value", int, float),
    "SimpleMathInt+": _holds(),
    "SimpleMathFloat+": _holds(),
    "SimpleMathPercent+": _holds(),
    "MathExpression|pysssss": replace(_calculates("expression", int, float), is_output=True, only_shows=True),
    "ReroutePrimitive|pysssss": _holds(),
    "Multiply Int Int (JPS)": _of_two("*"),
    "Substract Int Int (JPS)": _of_two("-"),
    "Largest Int (JPS)": NodeClass(formulas={0: "max(int_a, int_b)", 1: "min(int_a, int_b)"}),
    "Resolution Multiply (JPS)": NodeClass(formulas={0: "width * factor", 1: "height * factor"}),
    "Text Prompt (JPS)": _holds("text"),
    "mxSeed": _holds("X"),
    "mxSlider": NodeClass(picks={0: ("isfloatX", {False: "Xi", True: "Xf"})}),
    "mxSlider2D": NodeClass(
        picks={
            0: ("isfloatX", {False: "Xi", True: "Xf"}),
            1: ("isfloatY", {False: "Yi", True: "Yf"}),
        }
    ),
    "Seed (rgthree)": _holds("seed"),
    "Any Switch (rgthree)": NodeClass(first_of="any_"),
    "Seed Everywhere": _holds("seed"),
    "ResolutionMaster": NodeClass(
        picks={0: ("auto_detect", {False: "width"}), 1: ("auto_detect", {False: "height"})}
    ),
    "Simple String": _holds("string"),
    "SplineEditor": NodeClass(hands_on={3: "points_to_sample"}),
    # Sizes of pictures
    "GetImageSize": NodeClass(tells_side={0: WIDTH, 1: HEIGHT}),
    "GetImageSize+": NodeClass(tells_side={0: WIDTH, 1: HEIGHT}),
    "Get Image Size (JPS)": NodeClass(tells_side={0: WIDTH, 1: HEIGHT}),
    "Image or Latent Size (rgthree)": NodeClass(tells_side={0: WIDTH, 1: HEIGHT}),
    "GetImageSizeAndCount": NodeClass(tells_side={1: WIDTH, 2: HEIGHT}, same_size=True),
    "ImageScaleBy": NodeClass(scaled_by="scale_by"),
    "ImagePadForOutpaint": NodeClass(padded_by=(("left", "right"), ("top", "bottom"))),
    "ImagePadKJ": NodeClass(
        sized_by=("target_width", "target_height"),
        padded_by=(
            ("left", "right", "extra_padding", "extra_padding"),
            ("top", "bottom", "extra_padding", "extra_padding"),
        ),
    ),
    "EmptyImage": _sized(),
    "ImageScale": _sized(),
    "ImageCrop": _sized(),
    "ImageCrop+": _sized(),
    "Crop Image TargetSize (JPS)": _sized(sides=("target_w", "target_h")),
    "ImageResizeKJv2": _sized(
        {1: WIDTH, 2: HEIGHT},
        exact_when=("keep_proportion", frozenset({None, False, "stretch", "crop"})),
        multiple="divisible_by",
    ),
    "ImageResizeKJ": _sized(
        {1: WIDTH, 2: HEIGHT},
        exact_when=("keep_proportion", frozenset({None, False})),
        multiple="divisible_by",
    ),
    "ImageResize+": _sized(
        {1: WIDTH, 2: HEIGHT},
        exact_when=("method", frozenset({None, "stretch", "fill / crop", "pad"})),
        multiple="multiple_of",
    ),
    "Image Resize (rgthree)": _sized(
        {1: WIDTH, 2: HEIGHT}, exact_when=("fit", frozenset({None, "crop", "pad"}))
    ),
    "ConstrainImageforVideo|pysssss": _sized(
        sides=("max_width", "max_height"), exact_when=("crop_if_required", frozenset())
    ),
    "ConstrainImage|pysssss": _sized(
        sides=("max_width", "max_height"), exact_when=("crop_if_required", frozenset())
    ),
    "VHS_LoadVideo": NodeClass(
        input_file="video",
        refusal="Invalid video file: {}",
        sized_by=("custom_width", "custom_height"),
        bounded_by=_CAPPED,
    ),
    # Of an area. Source: ComfyUI comfy_extras/nodes_post_processing.py; WanVideoWrapper nodes_utility.py;
    # ComfyUi-Scale-Image-to-Total-Pixels-Advanced
    "ImageScaleToTotalPixels": NodeClass(area_of=(("megapixels",), 1024 * 1024)),
    "ImageScaleToTotalPixelsX": NodeClass(
        tells_side={1: WIDTH, 2: HEIGHT}, area_of=(("megapixels",), 1_000_000)
    ),
    "WanVideoImageResizeToClosest": NodeClass(
        tells_side={1: WIDTH, 2: HEIGHT}, area_of=(("generation_width", "generation_height"), 1)
    ),
    **dict.fromkeys(
        (
            "ColorMatch",
            "ColorMatchV2",
            "FastFilmGrain",
            "FILM VFI",
            "GetImageRangeFromBatch",
            "GetImagesFromBatchIndexed",
            "GIMMVFI_interpolate",
            "ImageAddNoise",
            "ImageBatch",
            "ImageBatchMulti",
            "ImageBatchRepeatInterleaving",
            "ImageBlur",
            "ImageFlip+",
            "ImageFromBatch",
            "ImageFromBatch+",
            "ImageInvert",
            "ImageSharpen",
            "ImpactImageBatchToImageList",
            "RebatchImages",
            "RepeatImageBatch",
            "ReverseImageBatch",
            "RIFE VFI",
            "SelectImages",
            "VHS_DuplicateImages",
            "VHS_SelectEveryNthImage",
            "VHS_SelectImages",
            "VHS_SplitImages",
        ),
        NodeClass(models={}, same_size=True),
    ),
    # ComfyUI-Unload-Model; KJNodes ``VRAM_Debug``
    "UnloadModel": NodeClass(unloads=True, hands_on={0: "value"}),
    "UnloadAllModels": NodeClass(unloads=True, hands_on={0: "value"}),
    "VRAM_Debug": NodeClass(unloads=True, hands_on={0: "any_input", 1: "image_pass", 2: "model_pass"}),
}
_UNKNOWN: Final = NodeClass()
_FORKED: Final = "WanVideoModelLoader"
_UNKNOWN_OUTPUT: Final = NodeClass(is_output=True)

# Judged in this order. Wrapper nodes carry the same words as ComfyUI's own.
_WORK: Final = (
    (Work.SAMPLE, re.compile(r"(KSampler(?!Select)|SamplerCustom|VideoSampler)")),
    (Work.LOAD, re.compile(r"(Loader|^Load[A-Z]|LoraSelect)")),
    (Work.VAE, re.compile(r"(VAEDecode|VideoDecode)")),
    (Work.TEXT, re.compile(r"TextEncode")),
    (
        Work.IMAGE,
        re.compile(r"(VAEEncode|VisionEncode|ImageTo|AudioEncode|VideoEncode|FrameToVideo|ToVideo)"),
    ),
    (Work.FRAMES, re.compile(r"(VFI|Interpolat|Upscale)")),
    (Work.SAVE, re.compile(r"(CreateVideo|VideoCombine)")),
)
_INTERPOLATES: Final = re.compile(r"(VFI$|VFI_interpolate|FrameInterpolate|Interpolate.*Frame)")
# "easy cleanGpuUsed", "LayerUtility: PurgeVRAM V2", "VRAMCleanup", "FreeMemoryModel", "Clear Cache All".
_CLEANS: Final = re.compile(
    r"(unload|clean(?!ed)|clear|purge|free|release|flush|empty)\s?_?(up)?\s?_?(all|gpu|v?ram|memory|models?|cache|cuda)"
    r"|(v?ram|memory|gpu|cache)\s?_?(clean|clear|purge|flush|release)",
    re.IGNORECASE,
)
_SHOWS: Final = re.compile(r"Preview|[Ss]how|Display")
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PATH_WORD: Final = re.compile(
    r".*(path|folder|directory|filename|url)s?|(out|in)?(dir|file)s?|uri|foldername|(output|video|image|text)file"
)
_MULTI_GPU: Final = re.compile(r"(DisTorch2?)?MultiGPU$")


@lru_cache(maxsize=4096)
def base_class(class_type: str) -> str:
    """Give the class that MultiGPU's forms wrap (UNETLoaderMultiGPU, …DisTorch2MultiGPU): same inputs."""
    return _MULTI_GPU.sub("", class_type)


@lru_cache(maxsize=4096)
def node_class(class_type: str) -> NodeClass:
    """The row of a class; for one that has none, what its name makes likely."""
    row = CLASSES.get(base_class(class_type))
    if row is None and class_type.startswith(_FORKED):  # "WanVideoModelLoaderHoloCine"
        row = CLASSES[_FORKED]
    return row or (_UNKNOWN_OUTPUT if class_type.startswith("Save") else _UNKNOWN)


_CONSTANT: Final = re.compile(
    r"(^|[^A-Za-z]|(?<=[a-z]))(int|integer|float|number|bool|boolean|constant|literal|primitive|multiline)"
    r"($|[^a-z])|^(Text|String|Prompt)$",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def looks_constant(class_type: str) -> bool:
    """Whether a node with a single input is by its name one that only holds it: "Int", "Text Multiline"."""
    return class_type not in CLASSES and _CONSTANT.search(class_type) is not None


@lru_cache(maxsize=4096)
def work_of(class_type: str) -> Work:
    """What a node of this class is busy with."""
    by_name = next((work for work, pattern in _WORK if pattern.search(class_type)), Work.OTHER)
    return Work.SAVE if by_name is Work.OTHER and node_class(class_type).is_output else by_name


@lru_cache(maxsize=4096)
def interpolates(class_type: str) -> bool:
    """Whether a class makes frames between frames."""
    return _INTERPOLATES.search(class_type) is not None


@lru_cache(maxsize=4096)
def cleans_memory(class_type: str) -> bool:
    """Whether a node of this class throws models or caches out of memory, as its row or its name tells."""
    return node_class(class_type).unloads or _CLEANS.search(class_type) is not None


@lru_cache(maxsize=4096)
def likely_only_shows(class_type: str) -> bool:
    """Whether nothing that an output of this class makes is kept, as its row or its name tells."""
    row = node_class(class_type)
    return row.only_shows if base_class(class_type) in CLASSES else _SHOWS.search(class_type) is not None


@lru_cache(maxsize=16384)
def what_it_names(class_type: str, input_name: str) -> Names | None:
    """What the text in an input stands for, if it names something that is a file; None: it does not."""
    known = node_class(class_type)
    if input_name == OUTPUT_PREFIX:
        return Names.OUTPUT_PREFIX
    if input_name == known.input_file:
        return Names.INPUT_FILE
    if input_name == known.any_file:
        return Names.ANY_FILE
    if input_name in known.models:
        return Names.MODEL
    words = _WORDS.findall(input_name)
    return Names.PATH if any(_PATH_WORD.fullmatch(word.lower()) for word in words) else None


def model_folder(class_type: str, input_name: str) -> str | None:
    """Name the folder below models/ in which this input's file is looked for; None: it names no model."""
    return node_class(class_type).models.get(input_name)
