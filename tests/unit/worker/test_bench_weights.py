"""The benchmark's model files are whole safetensors files of the size that was asked for."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest

from bench.gpu.weights import SHAPES, write_model


@pytest.mark.parametrize(("fp8", "width"), [(True, 1), (False, 2)])
def test_a_file_holds_every_tensor_that_its_header_names(tmp_path: Path, fp8: bool, width: int) -> None:
    path = tmp_path / "model.safetensors"

    write_model(path, SHAPES["tiny"], fp8=fp8, seed=1)

    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    ends = [tensor["data_offsets"][1] for tensor in header.values()]
    first = header["blocks.0.ffn.0.weight"]
    assert max(ends) == len(data) - 8 - length
    assert first["data_offsets"][1] - first["data_offsets"][0] == math.prod(first["shape"]) * width
    assert header["head.modulation"]["shape"] == [1, 2, 256]
