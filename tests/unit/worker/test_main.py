"""`farm-worker` where its extra is not installed: a producer's wheel has the command all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from farm.installed import MODULES_OF_WORKER, how_to_install
from worker.exits import EX_CONFIG

WITHOUT = """
import importlib.util, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
spec_of = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {refused!r} else spec_of(name)
sys.argv[1:] = {arguments!r}
from worker.__main__ import main_script
main_script()
"""


@pytest.mark.parametrize("arguments", [[], ["up"]], ids=["one", "up"])
def test_a_worker_without_its_extra_says_what_to_install(arguments: list[str]) -> None:
    refused = [*MODULES_OF_WORKER, "PIL"]

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(refused=refused, arguments=arguments)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == EX_CONFIG
    assert done.stderr == (
        f"farm-worker: {', '.join(MODULES_OF_WORKER)} not installed: {how_to_install('worker')}\n"
    )
