"""WAN's family, one row a set of model files; `comfy.wan.names` looks names up in it.

A pattern reads a name as words: lower case, CamelCase apart, every sign a space, so that
``Wan2_2-T2V-A14B-HIGH_fp8`` and ``wan2.2_t2v_highNoise_14B_fp8`` read alike. The first row that fits counts:
what is made of a model stands above the model.

`weights` are parameters of one file, from its published size: 14B models differ by what they have beside
attention to the text (16.4e9 with attention to a picture, 17.3e9 with VACE's layers).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from comfy.wan.models import WAN_1_3B, WAN_5B, WAN_14B, ModelFamily
from comfy.wan.precision import Precision


class Kind(StrEnum):
    """What a file is for."""

    MODEL = "model"  # a transformer that samples
    ADDED = "added"  # a part that is put on one
    LORA = "lora"
    VAE = "vae"
    ENCODER = "encoder"  # of text, pictures or sound


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSet:
    """Files that belong together."""

    name: str
    kind: Kind
    pattern: str  # a regular expression over the words of a file's name
    source: str
    family: ModelFamily | None = None  # None: no transformer, or one of several
    tasks: tuple[str, ...] = ()  # "t2v", "i2v", …; empty: its names say it, or it does several
    experts: tuple[str, ...] = ()  # words that tell its files apart; empty: one file, whatever its name says
    steps: int | None = None  # that it was distilled for, where its name gives no number; None: it was not
    weights: float | None = None  # parameters of one file; None: not published
    gib: float | None = None  # of one file, where that does not follow from parameters and width
    narrow_gib: float | None = None  # of its fp8 file then
    mib_per_rank: float | None = None  # of a LoRA in 16 bits, where its layers are not those of most
    precision: Precision | None = None  # of its files, where their names do not say it
    vae: str = ""  # the VAE that it takes, or the one that it is: "2.1", "2.2"
    goes_with: tuple[str, ...] = ()  # names of the sets that it is put on, or that are loaded beside it
    activations: float = 1.0  # of what plain WAN takes, by ComfyUI's estimate
    is_open: bool = True  # False: there are no weights, only nodes that call a service


HIGH_LOW: Final = ("high", "low")

_22: Final = r"(?<![a-z])wan ?(video )?2 ?2"
_21: Final = r"(?<![a-z])wan ?(video )?2 ?1"
_WAN: Final = r"(?<![a-z])wan(?![a-z])"
_5B: Final = r"(?=.*(?<!\d)5b)"
_14B: Final = r"(?=.*14b)"
_1_3B: Final = r"(?=.*1 3b)"
_A14B: Final = rf"(?=.*({_22}|a14b))"

_REPACKAGED: Final = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
_REPACKAGED_21: Final = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged"
_KIJAI: Final = "https://huggingface.co/Kijai/WanVideo_comfy"
_KIJAI_FP8: Final = "https://huggingface.co/Kijai/WanVideo_comfy_fp8_scaled"
_TEMPLATES: Final = "https://github.com/Comfy-Org/workflow_templates"
_LIGHTX2V: Final = "https://huggingface.co/lightx2v/Wan2.2-Distill-Models"
_LIGHTX2V_LORAS: Final = "https://huggingface.co/lightx2v/Wan2.2-Distill-Loras"
_FUN: Final = "https://huggingface.co/alibaba-pai/Wan2.2-Fun-A14B-Control"

_I2V_21: Final = 16.4e9
_A14B_WEIGHTS: Final = 14.29e9
_WITH_VACE: Final = 17.34e9


_model: Final = partial(ModelSet, kind=Kind.MODEL, vae="2.1")
_of_14b: Final = partial(_model, family=WAN_14B)
_pair_of_14b: Final = partial(_of_14b, experts=HIGH_LOW)
_of_5b: Final = partial(_model, family=WAN_5B)
_of_1_3b: Final = partial(_model, family=WAN_1_3B)
_added: Final = partial(ModelSet, kind=Kind.ADDED)
_lora: Final = partial(ModelSet, kind=Kind.LORA)
_encoder: Final = partial(ModelSet, kind=Kind.ENCODER)

# Words in the name of a merge that tell of few steps, whatever it was made for; four, if it gives no number.
# Source: https://huggingface.co/Kijai/WanVideo_comfy , https://huggingface.co/vrgamedevgirl84/Wan14BT2VFusioniX
FEW_STEPS: Final = (
    r"light ?x2v|lightning|distill|caus ?vid|acc ?vid|fusioni? ?x|self ?forcing|\d ?steps?(?![a-z])"
)
STEPS_OF_MOST: Final = 4

# Distilled: what they do in few steps they do without guidance.
_FEW_STEPS: Final = (
    _pair_of_14b(
        name="WAN 2.2 A14B, 4 steps (LightX2V, full models)",
        pattern=rf"{_A14B}(?=.*(light ?x2v|distill|nvfp4 sparse|\dsteps?|\d steps?)).*(high|low)",
        source=_LIGHTX2V,
        steps=4,
        weights=_A14B_WEIGHTS,
    ),
    _pair_of_14b(
        name="WAN 2.2 A14B, rCM (TurboDiffusion)",
        pattern=rf"turbo ?(wan|diffusion)(?=.*({_22}|wan2 2|a14b))",
        source="https://github.com/thu-ml/TurboDiffusion",
        steps=4,
        weights=_A14B_WEIGHTS,
    ),
    _of_1_3b(
        name="WAN 2.1 1.3B, rCM (TurboDiffusion)",
        pattern=rf"(?=.*(turbo ?(wan|diffusion)|(?<![a-z])r ?cm(?![a-z]))){_1_3B}",
        source="https://github.com/thu-ml/TurboDiffusion",
        steps=4,
        weights=1.42e9,
    ),
    _of_14b(
        name="WAN 2.1 14B, rCM (TurboDiffusion)",
        pattern=rf"(?=.*(turbo ?(wan|diffusion)|(?<![a-z])r ?cm(?![a-z]))){_14B}",
        source="https://github.com/thu-ml/TurboDiffusion",
        tasks=("t2v",),
        steps=4,
        weights=_A14B_WEIGHTS,
    ),
    _of_14b(
        name="WAN 2.2 rapid merge",
        pattern=r"(?=.*(?<![a-z])wan)(?=.*rapid)(?=.*(aio|mega|all ?in ?one))",
        source="https://huggingface.co/Phr00t/WAN2.2-14B-Rapid-AllInOne",
        tasks=("t2v", "i2v"),
        steps=4,
    ),
    _of_5b(
        name="WAN 2.2 TI2V 5B, 3 steps (FastWan)",
        pattern=rf"(?=.*fast ?wan){_5B}",
        source="https://huggingface.co/FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers",
        tasks=("t2v", "i2v"),
        steps=3,
        weights=5e9,
        vae="2.2",
    ),
    _of_1_3b(
        name="WAN 2.1 T2V 1.3B, 3 steps (FastWan)",
        pattern=rf"(?=.*fast ?wan){_1_3B}",
        source="https://huggingface.co/FastVideo/FastWan2.1-T2V-1.3B-Diffusers",
        tasks=("t2v",),
        steps=3,
        weights=1.42e9,
    ),
    _of_14b(
        name="WAN 2.1 T2V 14B, 3 steps (FastWan)",
        pattern=rf"(?=.*fast ?wan){_14B}",
        source="https://huggingface.co/FastVideo/FastWan2.1-T2V-14B-480P-Diffusers",
        tasks=("t2v",),
        steps=3,
        weights=_A14B_WEIGHTS,
    ),
    _of_1_3b(
        name="WAN 2.1 T2V 1.3B, autoregressive (Causal Forcing, Self Forcing)",
        pattern=rf"(?=.*(causal|self) ?forcing){_1_3B}",
        source="https://github.com/thu-ml/Causal-Forcing",
        tasks=("t2v",),
        steps=4,
        weights=1.42e9,
    ),
    _of_1_3b(
        name="WAN 2.1 T2V 1.3B, autoregressive (Causal Forcing, Self Forcing), size not in its name",
        pattern=r"(causal|self) ?forcing(?!.*14b)",
        source="https://github.com/thu-ml/Causal-Forcing",
        tasks=("t2v",),
        steps=4,
        weights=1.42e9,
    ),
    _of_5b(
        name="WAN 2.2 TI2V 5B, 4 steps (Turbo)",
        pattern=rf"(?=.*turbo){_5B}",
        source="https://github.com/quanhaol/Wan2.2-TI2V-5B-Turbo",
        tasks=("t2v", "i2v"),
        steps=4,
        weights=5e9,
        vae="2.2",
    ),
)

# Trained further for another task.
_FOR_A_TASK: Final = (
    _pair_of_14b(
        name="Bernini-R",
        pattern=r"bernini",
        source="https://huggingface.co/Comfy-Org/Bernini-R",
        tasks=("edit",),
        weights=15.6e9,
        goes_with=("LightX2V LoRA for WAN 2.1 T2V 14B", "LightX2V LoRAs for Bernini-R"),
    ),
    _of_14b(
        name="Wan-Dancer",
        pattern=r"(?<![a-z])wan ?(2 ?[12] )?dancer",
        source="https://huggingface.co/Comfy-Org/Wan-Dancer",
        tasks=("dance",),
        experts=("global", "local"),
        weights=17.1e9,
        activations=1.8,
    ),
    _of_14b(
        name="WAN Animate 2, distilled",
        pattern=r"animate ?2(?! ?\d).*distill",
        source="https://huggingface.co/Comfy-Org/Wan-Animate-2",
        tasks=("animate",),
        steps=10,
        weights=16.65e9,
        precision=Precision.INT8,
    ),
    _of_14b(
        name="WAN Animate 2",
        pattern=r"(?<![a-z])wan ?animate ?2(?! ?\d)",
        source="https://huggingface.co/Comfy-Org/Wan-Animate-2",
        tasks=("animate",),
        weights=16.65e9,
        precision=Precision.INT8,
    ),
    _of_14b(
        name="WAN 2.2 Animate",
        pattern=r"(?<![a-z])animate(?![a-z])(?=.*14b)|wan ?(2 ?2 )?animate",
        source=f"{_REPACKAGED} , {_KIJAI_FP8}",
        tasks=("animate",),
        weights=17.27e9,
        goes_with=("WAN 2.2 Animate relight LoRA", "LightX2V LoRA for WAN 2.1 I2V 14B"),
    ),
    _of_14b(
        name="SteadyDancer",
        pattern=r"steady ?dancer",
        source=_KIJAI_FP8,
        tasks=("animate",),
        weights=_I2V_21,
    ),
    _of_14b(
        name="One-to-All Animation",
        pattern=r"one ?to ?all",
        source=_KIJAI_FP8,
        tasks=("animate",),
    ),
    _of_14b(
        name="WanMove",
        pattern=r"(?<![a-z])wan ?(2 ?1 )?(wan ?)?move",
        source=f"{_KIJAI_FP8} , {_TEMPLATES}",
        tasks=("i2v",),
        weights=_I2V_21,
    ),
    _of_14b(
        name="SCAIL",
        pattern=r"(?<![a-z])scail(?![a-z])",
        source=_TEMPLATES,
        tasks=("animate",),
        weights=16.65e9,
        goes_with=("SCAIL 2 DPO LoRA",),
    ),
    _of_1_3b(
        name="HuMo 1.7B",
        pattern=r"hu ?mo.*1 7b",
        source="https://huggingface.co/Comfy-Org/HuMo_ComfyUI",
        tasks=("s2v",),
        weights=1.7e9,
    ),
    _of_14b(
        name="HuMo 17B",
        pattern=r"(?<![a-z])hu ?mo(?![a-z])",
        source="https://huggingface.co/Comfy-Org/HuMo_ComfyUI",
        tasks=("s2v",),
        weights=17.06e9,
    ),
    _of_1_3b(
        name="Phantom 1.3B",
        pattern=rf"(?=.*phantom){_1_3B}",
        source="https://huggingface.co/bytedance-research/Phantom",
        tasks=("s2v",),
        weights=1.42e9,
    ),
    _of_14b(
        name="Phantom 14B",
        pattern=r"phantom",
        source="https://huggingface.co/bytedance-research/Phantom",
        tasks=("s2v",),
        weights=_A14B_WEIGHTS,
    ),
    _of_14b(
        name="WAN 2.2 S2V 14B",
        pattern=rf"(?=.*(?<![a-z])s2v){_14B}",
        source=_REPACKAGED,
        tasks=("s2v",),
        weights=16.29e9,
    ),
    _of_14b(
        name="FantasyTalking",
        pattern=r"fantasy ?talking.*14b",
        source=_KIJAI,
        tasks=("s2v",),
    ),
    _of_14b(
        name="MAGREF",
        pattern=r"mag ?ref",
        source=_KIJAI,
        tasks=("i2v",),
        weights=_I2V_21,
    ),
    _of_14b(
        name="ChronoEdit",
        pattern=r"chrono ?edit",
        source=_KIJAI,
        tasks=("edit",),
        weights=_I2V_21,
    ),
    _of_14b(
        name="ATI",
        pattern=rf"(?<![a-z])ati(?![a-z])(?=.*14b)|(?=.*{_WAN}).*(?<![a-z])ati(?![a-z])",
        source=f"{_KIJAI} , https://docs.comfy.org/tutorials/video/wan/wan-ati",
        tasks=("i2v",),
        weights=17.14e9,
    ),
    _pair_of_14b(
        name="WAN 2.2 VACE-Fun A14B",
        pattern=rf"(?=.*vace)(?=.*fun){_A14B}",
        source="https://huggingface.co/alibaba-pai/Wan2.2-VACE-Fun-A14B",
        tasks=("vace",),
        weights=_WITH_VACE,
        activations=1.2,
    ),
    _of_1_3b(
        name="WAN VACE 1.3B",
        pattern=rf"(?=.*vace){_1_3B}",
        source=_REPACKAGED_21,
        tasks=("vace",),
        weights=2.15e9,
        activations=1.2,
    ),
    _of_14b(
        name="WAN VACE 14B",
        pattern=rf"(?=.*vace)(?=.*(14b|{_WAN}))",
        source=_REPACKAGED_21,
        tasks=("vace",),
        weights=_WITH_VACE,
        activations=1.2,
    ),
    _of_5b(
        name="Ovi (WAN 2.2 5B, with sound)",
        pattern=r"(?<![a-z])ovi(?![a-z]).*video",
        source="https://github.com/character-ai/Ovi",
        tasks=("t2v", "i2v"),
        vae="2.2",
    ),
    _of_5b(
        name="WAN 2.2 Fun 5B",
        pattern=rf"(?=.*(?<![a-z])fun(?![a-z])){_5B}",
        source="https://huggingface.co/alibaba-pai/Wan2.2-Fun-5B-Control",
        tasks=("control",),
        weights=5e9,
        vae="2.2",
    ),
    _pair_of_14b(
        name="WAN 2.2 Fun A14B (Control, Inpaint, Camera)",
        pattern=rf"(?=.*(?<![a-z])fun(?![a-z])){_A14B}",
        source=_FUN,
        tasks=("control",),
        weights=15.3e9,
    ),
    _of_1_3b(
        name="WAN 2.1 Fun 1.3B",
        pattern=rf"(?=.*(?<![a-z])fun(?![a-z])){_1_3B}",
        source="https://huggingface.co/alibaba-pai/Wan2.1-Fun-1.3B-Control",
        tasks=("control",),
        weights=1.6e9,
    ),
    _of_14b(
        name="WAN 2.1 Fun 14B",
        pattern=rf"(?=.*(?<![a-z])fun(?![a-z])){_14B}",
        source="https://huggingface.co/alibaba-pai/Wan2.1-Fun-14B-Control",
        tasks=("control",),
        weights=_I2V_21,
    ),
    _of_14b(
        name="SkyReels V2 14B",
        pattern=rf"(?=.*sky ?reels){_14B}",
        source=_KIJAI,
        weights=_A14B_WEIGHTS,
    ),
    _of_1_3b(
        name="SkyReels V2 1.3B",
        pattern=rf"(?=.*sky ?reels){_1_3B}",
        source=_KIJAI,
        weights=1.42e9,
    ),
)

# As they were released.
_BASE: Final = (
    _of_5b(
        name="WAN 2.2 TI2V 5B",
        pattern=rf"(?=.*(?<![a-z])(wan|ti2v)){_5B}",
        source=_REPACKAGED,
        tasks=("t2v", "i2v"),
        weights=5e9,
        vae="2.2",
    ),
    _pair_of_14b(
        name="WAN 2.2 A14B",
        pattern=rf"{_22}(?=.*14b)|(?=.*14b).*{_22}|(?=.*(?<![a-z])wan).*a14b",
        source=f"{_REPACKAGED} , {_KIJAI_FP8}",
        weights=_A14B_WEIGHTS,
        goes_with=("Lightning LoRAs for WAN 2.2 A14B",),
    ),
    _of_1_3b(
        name="WAN 2.1 T2V 1.3B",
        pattern=rf"(?=.*(?<![a-z])wan){_1_3B}",
        source=_REPACKAGED_21,
        weights=1.42e9,
    ),
    _of_14b(
        name="WAN 2.1 I2V 14B",
        pattern=rf"(?=.*{_21})(?=.*(i2v|flf2v)){_14B}",
        source=_REPACKAGED_21,
        tasks=("i2v",),
        weights=_I2V_21,
        goes_with=("LightX2V LoRA for WAN 2.1 I2V 14B",),
    ),
    _of_14b(
        name="WAN 2.1 T2V 14B",
        pattern=rf"(?=.*{_21}){_14B}",
        source=_REPACKAGED_21,
        weights=_A14B_WEIGHTS,
        goes_with=("LightX2V LoRA for WAN 2.1 T2V 14B",),
    ),
    _pair_of_14b(
        name="a WAN model of 14B",
        pattern=r"(?=.*(?<![a-z])wan)(?=.*14b)",
        source=_KIJAI,
    ),
)

# Names that do not tell how large the model is: taken for the one that is usual under them.
_GUESSED: Final = (
    _pair_of_14b(
        name="a merge of WAN 2.2, taken for A14B",
        pattern=_22,
        source="the usual one of its version; the 5B model says 5B in its name",
    ),
    _pair_of_14b(
        name="a merge of WAN, taken for 14B",
        pattern=r"(?<![a-z])wan(?![a-z])|(?<![a-z])wan ?(video )?2 ?1",
        source="the usual one; smaller models say so in their names",
    ),
)

# What there are no files of: a file or a template of such a name is something else, or calls a service.
_SERVICES: Final = tuple(
    ModelSet(
        name=f"WAN {version}",
        kind=Kind.MODEL,
        pattern=rf"(?<![a-z])wan ?{pattern}(?!\d| ?\d*b(?![a-z]))",
        source="https://docs.comfy.org/changelog (API nodes only; no weights were released)",
        is_open=False,
    )
    for version, pattern in (("2.5", "2 ?5"), ("2.6", "2 ?6"), ("2.7", "2 ?7"), ("3.0", "3( ?0)?"))
)

_ADDED: Final = (
    _added(
        name="InfiniteTalk, MultiTalk",
        pattern=r"infini(te)? ?(te)?talk|multi ?talk",
        source=_KIJAI,
        family=WAN_14B,
        weights=2.56e9,
        goes_with=("WAN 2.1 I2V 14B",),
    ),
    _added(
        name="VACE module 14B",
        pattern=rf"vace module{_14B}|(?=.*vace)(?=.*module){_14B}",
        source=_KIJAI,
        family=WAN_14B,
        weights=3.05e9,
        activations=1.2,
        goes_with=("WAN 2.1 T2V 14B", "WAN 2.2 A14B"),
    ),
    _added(
        name="VACE module 1.3B",
        pattern=r"vace module",
        source=_KIJAI,
        family=WAN_1_3B,
        weights=0.73e9,
        activations=1.2,
        goes_with=("WAN 2.1 T2V 1.3B",),
    ),
    _added(
        name="Uni3C",
        pattern=r"uni ?3 ?c",
        source=_KIJAI,
        family=WAN_14B,
        weights=1.0e9,
        goes_with=("WAN 2.1 I2V 14B", "WAN 2.2 A14B"),
    ),
    _added(
        name="FantasyTalking, its projection",
        pattern=r"fantasy ?talking",
        source=_KIJAI,
        family=WAN_14B,
        goes_with=("WAN 2.1 I2V 14B",),
    ),
)

# A LoRA's size goes by its rank where its name gives one (`comfy.wan.names`).
_LORAS: Final = (
    _lora(
        name="LightX2V LoRAs for Bernini-R",
        pattern=r"(?=.*bernini)(?=.*light ?x2v)",
        source="https://huggingface.co/Comfy-Org/Bernini-R",
        family=WAN_14B,
        experts=HIGH_LOW,
        steps=4,
        goes_with=("Bernini-R",),
    ),
    _lora(
        name="Lightning LoRAs for WAN 2.2 A14B",
        pattern=rf"{_A14B}(?=.*(light ?x2v|lightning|distill|\d ?steps?|r ?cm|turbo))",
        source=f"{_LIGHTX2V_LORAS} , {_REPACKAGED} , {_KIJAI}",
        family=WAN_14B,
        experts=HIGH_LOW,
        steps=4,
        gib=1.14,
        goes_with=("WAN 2.2 A14B",),
    ),
    _lora(
        name="LoRA for WAN 2.2 TI2V 5B, few steps (FastWan, Turbo)",
        pattern=rf"(?=.*(fast ?wan|turbo|distill|light ?x2v|\d ?steps?)){_5B}",
        source=_KIJAI,
        family=WAN_5B,
        steps=3,
        goes_with=("WAN 2.2 TI2V 5B",),
    ),
    _lora(
        name="LoRA for WAN 2.1 T2V 1.3B, few steps",
        pattern=rf"(?=.*(caus ?vid|acc ?vid|fast ?wan|self ?forcing|r ?cm|turbo|distill|light ?x2v)){_1_3B}",
        source=_KIJAI,
        family=WAN_1_3B,
        steps=4,
        goes_with=("WAN 2.1 T2V 1.3B",),
    ),
    _lora(
        name="LightX2V LoRA for WAN 2.1 I2V 14B",
        pattern=r"(?=.*(light ?x2v|wan.*distill))(?=.*i2v)",
        mib_per_rank=11.0,
        source=_KIJAI,
        family=WAN_14B,
        tasks=("i2v",),
        steps=4,
        goes_with=("WAN 2.1 I2V 14B",),
    ),
    _lora(
        name="LightX2V LoRA for WAN 2.1 T2V 14B",
        pattern=r"light ?x2v|wan.*distill",
        source=_KIJAI,
        family=WAN_14B,
        steps=4,
        goes_with=("WAN 2.1 T2V 14B", "Bernini-R"),
    ),
    _lora(
        name="LoRA for WAN 2.1 14B, few steps (CausVid, AccVid, FusionX, FastWan, rCM)",
        pattern=r"caus ?vid|acc ?vid|fusioni? ?x|fast ?wan|self ?forcing|(?<![a-z])r ?cm(?![a-z])",
        source=_KIJAI,
        family=WAN_14B,
        steps=4,
        goes_with=("WAN 2.1 T2V 14B", "WAN 2.1 I2V 14B"),
    ),
    _lora(
        name="few-step LoRA",
        pattern=r"lightning|turbo|distill|(?<!\d)[1-8] ?steps?(?![a-z])",
        source=_LIGHTX2V_LORAS,
        steps=4,
    ),
    _lora(
        name="SVI 2.0 Pro LoRAs",
        pattern=r"(?<![a-z])svi(?![a-z])",
        source="https://github.com/vita-epfl/Stable-Video-Infinity",
        family=WAN_14B,
        tasks=("i2v",),
        experts=HIGH_LOW,
        goes_with=("WAN 2.2 A14B",),
    ),
    _lora(
        name="WAN 2.2 Animate relight LoRA",
        pattern=r"animate.*relight|relight.*animate",
        source=_REPACKAGED,
        family=WAN_14B,
        gib=1.34,
        goes_with=("WAN 2.2 Animate",),
    ),
    _lora(
        name="SCAIL 2 DPO LoRA",
        pattern=r"scail.*dpo",
        source=_TEMPLATES,
        family=WAN_14B,
        goes_with=("SCAIL",),
    ),
    _lora(
        name="Wan-Alpha RGBA LoRA",
        pattern=r"alpha.*rgba|rgba.*lora",
        source="https://huggingface.co/htdong/Wan-Alpha_ComfyUI",
        family=WAN_14B,
        gib=0.29,
        goes_with=("WAN 2.1 T2V 14B", "Wan-Alpha VAE, colours", "Wan-Alpha VAE, alpha"),
    ),
    _lora(
        name="a LoRA for WAN 2.2 TI2V 5B", pattern=rf"(?=.*(?<![a-z])wan){_5B}", source=_KIJAI, family=WAN_5B
    ),
    _lora(
        name="a LoRA for WAN 2.1 1.3B", pattern=rf"(?=.*(?<![a-z])wan){_1_3B}", source=_KIJAI, family=WAN_1_3B
    ),
    _lora(name="a LoRA for WAN 14B", pattern=r"(?=.*(?<![a-z])wan)(?=.*14b)", source=_KIJAI, family=WAN_14B),
)

_VAES: Final = (
    ModelSet(
        name="Wan-Alpha VAE, colours",
        kind=Kind.VAE,
        pattern=r"alpha.*rgb channel",
        source="https://huggingface.co/htdong/Wan-Alpha_ComfyUI",
        gib=0.24,
        vae="2.1",
        goes_with=("Wan-Alpha RGBA LoRA", "Wan-Alpha VAE, alpha"),
    ),
    ModelSet(
        name="Wan-Alpha VAE, alpha",
        kind=Kind.VAE,
        pattern=r"alpha.*alpha channel|alpha channel",
        source="https://huggingface.co/htdong/Wan-Alpha_ComfyUI",
        gib=0.24,
        vae="2.1",
        goes_with=("Wan-Alpha RGBA LoRA", "Wan-Alpha VAE, colours"),
    ),
    ModelSet(
        name="WAN 2.2 VAE", kind=Kind.VAE, pattern=rf"{_22}.*vae", source=_REPACKAGED, gib=1.31, vae="2.2"
    ),
    ModelSet(
        name="WAN 2.1 VAE", kind=Kind.VAE, pattern=rf"{_21}.*vae", source=_REPACKAGED_21, gib=0.24, vae="2.1"
    ),
)

_ENCODERS: Final = (
    _encoder(name="umt5-xxl", pattern=r"umt5 ?xxl", source=_REPACKAGED_21, gib=10.59, narrow_gib=6.27),
    _encoder(
        name="CLIP vision H",
        pattern=r"clip vision (vit )?h|open clip xlm roberta large vit huge",
        source=_REPACKAGED_21,
        gib=1.18,
    ),
)

MODEL_SETS: Final = (
    *_SERVICES,
    *_ADDED,
    *_LORAS,
    *_VAES,
    *_ENCODERS,
    *_FOR_A_TASK,
    *_FEW_STEPS,
    *_BASE,
    *_GUESSED,
)
GUESSED: Final = frozenset(row.name for row in _GUESSED)
