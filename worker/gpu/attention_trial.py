"""Tries attention back-ends. Run by ComfyUI's own interpreter, which has torch and the kernels; ours has not.

It is given to that interpreter as text and must need nothing but the standard library and what is tried.
Arguments: ``versions``; or ``try DEVICE TOKENS NAME…``. Each answer is a line of JSON, printed as it is
found: one that takes the process down leaves the others' behind.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import sys
import time
from typing import Any

# WAN-14B: 40 heads of 128. Source: WAN's config, `num_heads` and `dim`.
HEADS = 40
HEAD_DIM = 128
ROWS = 128  # of the answer, compared with one that is worked out in single precision
REPEATS = 3
RIGHT_FROM = 0.99  # cosine to the reference
PACKAGES = ("torch", "triton", "sageattention", "sageattn3", "flash_attn", "flash_attn_3", "xformers")


def versions() -> dict[str, str]:
    """What is installed of what matters; nothing is imported."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def back_end(name: str, torch: Any) -> Any:
    """A function of q, k, v (batch, heads, tokens, dim) that answers in the same form.

    Raises:
        ImportError, AttributeError: it is not installed.
    """
    if name == "sdpa":
        return torch.nn.functional.scaled_dot_product_attention
    if name in _SDPA:
        chosen = getattr(torch.nn.attention.SDPBackend, _SDPA[name])

        def one_kernel(q: Any, k: Any, v: Any) -> Any:
            with torch.nn.attention.sdpa_kernel(chosen):
                return torch.nn.functional.scaled_dot_product_attention(q, k, v)

        return one_kernel
    module, function, options, heads_first = _OTHERS[name]
    kernel = getattr(importlib.import_module(module), function)

    def other(q: Any, k: Any, v: Any) -> Any:
        if heads_first:
            return kernel(q, k, v, **options)
        answer = kernel(*(each.transpose(1, 2) for each in (q, k, v)), **options)
        return (answer[0] if isinstance(answer, tuple) else answer).transpose(1, 2)

    return other


_SDPA = {
    "sdpa_flash": "FLASH_ATTENTION",
    "sdpa_cudnn": "CUDNN_ATTENTION",
    "sdpa_efficient": "EFFICIENT_ATTENTION",
}
# Name -> module, function, options, whether heads come before tokens.
# Source: what WanVideoWrapper, KJNodes and ComfyUI call; SageAttention's and flash-attention's READMEs.
_SAGE = {"tensor_layout": "HND", "is_causal": False}
_OTHERS: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "sage": ("sageattention", "sageattn", _SAGE, True),
    "sage_fp16_cuda": (
        "sageattention",
        "sageattn_qk_int8_pv_fp16_cuda",
        {**_SAGE, "pv_accum_dtype": "fp32"},
        True,
    ),
    "sage_fp16_triton": ("sageattention", "sageattn_qk_int8_pv_fp16_triton", _SAGE, True),
    "sage_fp8_cuda": (
        "sageattention",
        "sageattn_qk_int8_pv_fp8_cuda",
        {**_SAGE, "pv_accum_dtype": "fp32+fp32"},
        True,
    ),
    "sage3": ("sageattn3", "sageattn3_blackwell", {"is_causal": False}, True),
    "flash2": ("flash_attn", "flash_attn_func", {}, False),
    "flash3": ("flash_attn_interface", "flash_attn_func", {}, False),
}
NAMES = ("sdpa", *_SDPA, *_OTHERS)


def attempt(name: str, torch: Any, device: str, tokens: int) -> dict[str, Any]:
    """Try one: its time when it is right, else why not. ``fatal``: the process can try no other."""
    try:
        run = back_end(name, torch)
    except (ImportError, AttributeError):
        return {"name": name, "absent": True}
    except Exception as exc:  # noqa: BLE001 - a package that breaks on import; what it raises is its affair
        return {"name": name, "why": _words(exc)}
    try:
        with torch.inference_mode():
            q, k, v = _inputs(torch, device, tokens)
            answer = run(q, k, v)
            cosine = _cosine(torch, answer[:, :, :ROWS], _reference(torch, q[:, :, :ROWS], k, v))
            if not cosine > RIGHT_FROM:
                return {"name": name, "why": f"wrong: its cosine to the right answer is {cosine:.4f}"}
            return {"name": name, "seconds": min(_seconds(torch, run, q, k, v) for _ in range(REPEATS))}
    except Exception as exc:  # noqa: BLE001 - kernels raise whatever they like
        text = _words(exc)
        short = "out of memory" in text.lower()
        return {"name": name, "why": text, "fatal": "CUDA error" in text and not short, "memory": short}


def _inputs(torch: Any, device: str, tokens: int) -> Any:
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    source = torch.Generator(device=device).manual_seed(1)
    shape = (1, HEADS, tokens, HEAD_DIM)
    return [torch.randn(shape, generator=source, device=device, dtype=dtype) for _ in range(3)]


def _reference(torch: Any, q: Any, k: Any, v: Any) -> Any:
    """The same in single precision, head by head: all at once would take gigabytes."""
    rows = []
    for head in range(q.shape[1]):
        scores = q[0, head].float() @ k[0, head].float().T / HEAD_DIM**0.5
        rows.append(torch.softmax(scores, dim=-1) @ v[0, head].float())
    return torch.stack(rows)[None]


def _cosine(torch: Any, one: Any, other: Any) -> float:
    return float(torch.nn.functional.cosine_similarity(one.float().flatten(), other.flatten(), dim=0))


def _seconds(torch: Any, run: Any, q: Any, k: Any, v: Any) -> float:
    wait = torch.cuda.synchronize if q.device.type == "cuda" else (lambda: None)
    wait()
    began = time.perf_counter()
    run(q, k, v)
    wait()
    return time.perf_counter() - began


def _words(exc: Exception) -> str:
    return (f"{type(exc).__name__}: {exc}".splitlines() or ["?"])[0][:200]


def tell(answer: dict[str, Any]) -> None:
    """Print one line of JSON, now: the next try may be the end of this process."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Answer line by line; 3: a back-end broke the process for the ones after it."""
    if arguments == ["versions"]:
        tell(versions())
        return 0
    _, device, tokens, *names = arguments
    torch = importlib.import_module("torch")
    if device == "cuda" and not torch.cuda.is_available():
        tell({"why": "torch sees no CUDA card"})
        return 0
    for name in names:
        tell({"trying": name})
        found = attempt(name, torch, device, int(tokens))
        tell(found)
        if found.get("fatal"):
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
