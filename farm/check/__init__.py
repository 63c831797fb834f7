"""Whether all that this machine needs is in place, and what to do if not: the facts behind `farm check`."""

from farm.check.every import check_everything, passed
from farm.check.finding import Finding

__all__ = ["Finding", "check_everything", "passed"]
