"""Workers' cards as others read them: which worker a name means, and what lies beside a card.

A card is JSON that a worker of any version wrote: readers take what is there.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from farm.store.base import JobStore

MODELS_FIELD: Final = "models"  # of a card: how many model files, of how many bytes, and the list's digest

ATTENTION_FIELD: Final = "attention"  # of a card: the back-end that its ComfyUI was started with


def models_name(digest: str) -> str:
    """Under which name the store keeps a worker's list of model files.

    The blob is JSON, ``{"vae/wan_2.1_vae.safetensors": bytes, …}``, compressed by zlib.
    """
    return f"models:{digest}"


def models_of(store: JobStore, card: Mapping[str, Any]) -> dict[str, int] | None:
    """A worker's model files, folder and name -> bytes; None when it does not tell them.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    digest = (card.get(MODELS_FIELD) or {}).get("list")
    blob = store.get_blob(models_name(str(digest))) if digest else None
    try:
        return (
            None if blob is None else {str(k): int(v) for k, v in json.loads(zlib.decompress(blob)).items()}
        )
    except (zlib.error, ValueError, AttributeError, TypeError):  # a worker of another version wrote it
        return None


def cards_named(cards: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """The cards that a name means: that very worker, or those whose part before the ``@`` it is."""
    exact = [card for card in cards if card.get("name") == name]
    return exact or [card for card in cards if str(card.get("name")).partition("@")[0] == name]
