"""What a person types: the examples in the help of each command. A test reads them as the command does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "submit": (
        'farm submit -t wan22-t2v-a14b -p prompt="a red fox in the snow" --watch',
        "farm submit workflow.json -p prompt=fox -p seed=7 --label night",
        "farm submit workflow.json --count 200 --label matrix",
    ),
    "watch": ("farm watch", "farm watch 3f2a9c", "farm watch --label night"),
    "ls": ("farm ls --state failed --since 2h", "farm ls --columns job,seed,title --search fox --page 2"),
    "show": ("farm show 3f2a9c", "farm show --label night --where seed=7"),
    "cancel": ("farm cancel 3f2a9c", "farm cancel --label night --state queued --dry-run"),
    "pause": ("farm pause --label night",),
    "resume": ("farm resume --label night",),
    "priority": ("farm priority 3f2a9c --to 0", "farm priority --label night --to 9 --yes"),
    "rm": ("farm rm 3f2a9c", "farm rm --state failed --until 7d --yes"),
    "retry": ("farm retry 3f2a9c", "farm retry --all-failed --since 1d"),
    "pull": (
        "farm pull 3f2a9c --into clips",
        "farm pull --label night --with poster,manifest --name {seed}-{job} -o clips",
    ),
    "open": ("farm open 3f2a9c",),
    "diagnose": (
        "farm diagnose comfyui.log",
        "farm diagnose comfyui.log --card 'RTX 4090' --html report.html",
    ),
    "validate": ("farm validate workflow.json -p frames=81",),
    "inspect": ("farm inspect workflow.json",),
    "lint": ("farm lint workflow.json", "farm lint workflow.json --gpu 'RTX 4090'"),
    "plan": ("farm plan workflow.json", "farm plan -t wan22-t2v-a14b -p prompt=fox --gpu H100"),
    "optimize": ("farm optimize workflow.json --accept different --lightning -o faster.json",),
    "templates": (
        "farm templates wan22-t2v-a14b",
        "farm templates wan22-t2v-a14b -o workflow_api.json",
        "farm templates wan22-t2v-a14b -o workflow.json --editor",
        "farm templates mine --save workflow.json --bind mood=6.text",
    ),
    "workers": ("farm workers", "farm workers gpu-1"),
    "drain": ("farm drain gpu-1", "farm drain gpu-1 --now", "farm drain gpu-1 --undo"),
    "queues": ("farm queues",),
    "check": ("farm check",),
    "plan-gpu": ("farm plan-gpu", "farm plan-gpu --gpu 'RTX 4090'"),
    "steward": ("farm steward",),
    "clean": ("farm clean --dry-run",),
    "metrics": ("farm metrics",),
    "gateway": ("farm gateway",),
    "webhooks": ("farm webhooks", "farm webhooks add https://example.com/ended"),
    "keys": ("farm keys", "farm keys create studio"),
    "up": ("farm up", "farm up --no-flower", "farm up --folder ~/farm"),
    "demo": ("farm demo", 'farm demo --prompt "a crow on a wire"'),
    "down": ("farm down",),
    "env": ('eval "$(farm env)"',),
}
