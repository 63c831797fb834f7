"""The farm on one machine with nothing installed: Valkey and S3 from wheels, one worker, Flower.

`LocalStack` runs it, `stack_folder`, `attach` and `local_environment` find one, `down` stops it.
"""

from farm.local.parts import PartName
from farm.local.running import attach, down, local_environment, stack_folder
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
    "stack_folder",
]
