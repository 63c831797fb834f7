"""A whole farm for a benchmark: real Valkey, S3 and workers, with the times of production."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.servers import own_valkey
from tests.support.s3 import running_rclone
from tests.support.whole_farm import WholeFarm


@contextlib.contextmanager
def running_farm(prefix: str) -> Iterator[WholeFarm]:
    """Run a farm in a folder of its own; all of it is gone afterwards.

    Short leases and sweeps, as tests have them, would show a busier farm than there is.
    """
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        with own_valkey() as valkey_url, running_rclone(folder / "s3") as s3:
            farm = WholeFarm(folder, valkey_url, s3.settings(), lease_s=15.0, renew_s=3.0, sweep_s=1.0)
            try:
                yield farm
            finally:
                farm.close()
