"""Inputs for a ComfyUI that is not ours: what its disk would have to hold is refused and not guessed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from farm.errors import InputUnavailable
from worker.comfyui.own_comfy import OwnComfy


def test_an_attached_server_is_given_no_name_where_a_node_opens_a_path() -> None:
    supervisor = SimpleNamespace(plan=None, is_attached=True, disk=SimpleNamespace(input=None, work=None))
    comfy = OwnComfy(cast("Any", supervisor))

    with pytest.raises(InputUnavailable, match="COMFYUI_URL") as refused:
        comfy.provide(
            cast("Any", None),
            "https://me:s3cret@example.com/fox.mp4",
            field="1.video",
            holder="token",
            stop=lambda: False,
            as_path=True,
        )

    assert "s3cret" not in str(refused.value)
    assert "1.video" in str(refused.value)
