"""The farm on one machine with nothing installed: Valkey and S3 from wheels, one worker, Flower.

`LocalStack` runs it, `attach` and `local_environment` find a running one, `down` stops it.
"""

from farm.local.parts import PartName
from farm.local.running import attach, down, local_environment
from farm.local.stack import LocalStack
from farm.local.state import StackState
from farm.local.supervisor import News, PartNews

__all__ = [
    "LocalStack",
    "News",
    "PartName",
    "PartNews",
    "StackState",
    "attach",
    "down",
    "local_environment",
]
