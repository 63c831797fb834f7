"""Lines of shells, kernels and those who keep a service running: downloads, and how a process ended.

They stand behind words of their own, so they are looked for anywhere in a line. Source: bash, zsh, glibc's
strsignal in several languages, cmd's pause, systemd, supervisord, Docker, ROCm's runtime, faulthandler.
"""

from __future__ import annotations

import re
from typing import Final

from comfy.log.facts import CacheFact, DownloadFact, HostMemoryFact, LogFact, ServerEndedFact
from comfy.log.form import Printer, form

# What waits for a key: a batch file behind the server's end.
_PAUSES: Final = (
    "Press any key to continue", "请按任意键继续", "請按任意鍵繼續", "Drücken Sie eine beliebige Taste",
    "Appuyez sur une touche pour", "Presione una tecla para", "Premere un tasto per", "Druk op een toets om",
    "Pressione qualquer tecla para", "Для продолжения нажмите любую", "Naciśnij dowolny klawisz",
    "Devam etmek için bir tuşa basın", "계속하려면 아무 키나", "続行するには何かキーを押して",
)  # fmt: skip
_SIGNALS: Final = (
    "段错误", "Violación de segmento", "Speicherzugriffsfehler", "Erreur de segmentation",
    "Ошибка сегментирования", "Falha de segmentação", "Errore di segmentazione", "Naruszenie ochrony pamięci",
    "Segmentatiefout", "Segmenteringsfel", "已放弃 (核心已转储)", "已中止 (核心已转储)",
    "Abgebrochen (Speicherabzug",
)  # fmt: skip


def _ended(found: re.Match[str]) -> LogFact:
    return ServerEndedFact(message=found.string.strip()[:300])


OF_THE_SYSTEM: Final = (
    form(
        "command-without-cache", "the command that starts it: every prompt reads all models again", "",
        r"\bmain\.py .*--cache-none\b",
        lambda _: CacheFact(name="none"),
        "$ python main.py --listen --cache-none", by=Printer.SYSTEM,
    ),
    form(
        "download-bar", "a file is fetched while the prompt waits", "",
        r"^(?:(?P<file>[^|%]{1,80}?):?\s*)??\d{1,3}%\|[^|]*\|\s*[\d.]+ ?[kMGT]?i?B?\s?"
        r"/\s?[\d.]+ ?[kMGT]?i?B?(?: \[[^\]]*|, +[\d.]+ ?)[kMG]?i?B/s",
        lambda m: DownloadFact(source=m["file"] or "a file"),
        "model.safetensors:  45%|####      | 1.20G/2.60G [00:30<00:35, 39.8MB/s]", by=Printer.SYSTEM,
    ),
    form(
        "fetching", "a file is fetched while the prompt waits: by aria2, wget, gdown or curl", "",
        r"^\[#\w{6} [\d.]+\w{1,3}/[\d.]+\w{1,3}\(\d{1,3}%\)|^Download Results:"
        r"|^Saving to: [‘'\"].+\.(?:safetensors|pth?|ckpt|bin|onnx|gguf|zip)\b"
        r"|^From(?: \(original\))?: https://drive\.google\.com/|^% Total +% Received",
        lambda m: DownloadFact(source=m.string.strip()[:200]),
        "[#2089b0 400.0KiB/33.2MiB(1%) CN:1 DL:115.7KiB ETA:4m51s]", "Saving to: ‘wan_2.1_vae.safetensors’",
        "From: https://drive.google.com/uc?id=1", "% Total    % Received % Xferd", by=Printer.SYSTEM,
    ),
    form(
        "oom-killed", "the system has ended a process for want of host memory", "",
        r"[Oo]ut of memory: Killed process \d+ |\bOOMKilled\b|\boom-kill\b",
        lambda m: HostMemoryFact(message=m.string.strip()[:300], is_end=True),
        "Out of memory: Killed process 2211 (python3) total-vm:61832012kB",
        "Reason: OOMKilled", "comfyui.service: Failed with result 'oom-kill'.", by=Printer.SYSTEM,
    ),
    form(
        "downloading", "a file is fetched while the prompt waits, in a node's own words", "",
        r"[Dd]ownloading (?<!not downloading )(?<!ing downloading )(?<!kip downloading )(?<!out downloading )"
        r"(?=.{0,200}(?:https?://|[Mm]odel|[Ww]eights|[Cc]heckpoint|[Hh]ugging ?[Ff]ace"
        r"|\.(?:safetensors|pth?|ckpt|bin|onnx|gguf)\b))(?!.{0,200}\.(?:whl|tar\.gz)\b)(.{1,200})",
        lambda m: DownloadFact(source=m[1].strip()),
        "Downloading model from https://example.org/wan.safetensors",
        "[FlashVSR] Downloading weights to /models/FlashVSR",
        "Model not found. downloading yolox_l.onnx", by=Printer.SYSTEM,
    ),
    form(
        "killed", "the system has ended a process, most often for want of host memory", "",
        r"(?:^|[\d:] +)(?:Killed(?:\s*$|: ?\d|\s+\S*python| process \d+ \(python))"
        r"|terminated by (?:signal )?SIGKILL|code=killed, status=9|signal:? SIGKILL|\bzsh: killed"
        r"|\bexited with code 137\b",
        lambda m: HostMemoryFact(message=m.string.strip()[:300], is_told=False, is_end=True),
        "Killed", "./run.sh: line 52:     9 Killed                  python3 main.py --listen",
        "exited: comfyui (terminated by SIGKILL; not expected)",
        "comfyui.service: Main process exited, code=killed, status=9/KILL", by=Printer.SYSTEM,
    ),
    form(
        "server-stopped", "somebody has stopped the server", "",
        r"^(?:Stopped server|Terminate batch job \(Y/N\)\?|KeyboardInterrupt|Gracefully [Ss]topping)",
        lambda m: ServerEndedFact(message=m.string.strip()[:300], is_asked_for=True),
        "Stopped server", "Terminate batch job (Y/N)?", "KeyboardInterrupt",
        "Gracefully stopping... (press Ctrl+C again to force)", by=Printer.SYSTEM,
    ),
    form(
        "server-ended", "ComfyUI's process has ended, or the thread that runs its prompts", "",
        r"^(?:Fatal Python error: |Windows fatal exception: (?:access violation|stack overflow|int divide)"
        r"|Memory access fault by GPU|terminate called (?:after|without|recursively)|libc\+\+abi: terminating"
        r"|(?:Aborted|Bus error|Illegal instruction|Floating point exception)(?:\s*$| \(core dumped\))"
        r"|Exception in thread .{0,40}prompt_worker"
        r"|(?:malloc|free|realloc)\(\): (?:invalid|corrupted|double|unaligned)|double free or corruption"
        r"|corrupted (?:double-linked list|size vs)|\*\*\* stack smashing detected)"
        r"|\b[Ss]egmentation fault\b|\((?:core dumped|核心已转储)\)|\bHSA_STATUS_ERROR|: failed assertion"
        r"|(?:^|[\d:] +)(?:Aborted|Bus error|Illegal instruction|Floating point exception) .*\bpython"
        r"|\bzsh: (?:abort|bus error|illegal hardware instruction)|\bSIG(?:SEGV|ABRT|BUS|ILL|FPE)\b"
        r"|(?:(?<!ub)[Pp]rocess|[Cc]ontainer|[Cc]omfy[\w. -]{0,20}|python[\w.]*|main\.py)\b"
        r"(?!.*(?:non-zero|\bpip\b|ffmpeg))[^.:]{0,60}"
        r" exit(?:ed)?(?: with)?(?: exit)?(?: code| status):? -?[1-9]\d*"
        r"|\bexited: \S+ \((?:exit status [1-9]|terminated by)"
        r"|code=(?:dumped|killed|exited), status=(?:[1-8]|\d\d+)/|result '(?:core-dump|signal)'"
        r"|leaked semaphore objects to clean up at shutdown"
        rf"|{'|'.join(map(re.escape, (*_PAUSES, *_SIGNALS)))}",
        _ended,
        "Fatal Python error: Segmentation fault", "Windows fatal exception: access violation",
        "Memory access fault by GPU node-1 (Agent handle: 0x5d) on address 0x79. Reason: Page",
        "terminate called after throwing an instance of 'c10::Error'", "Aborted (core dumped)",
        "Exception in thread Thread-1 (prompt_worker):", "./run.sh: line 12:  2211 Aborted  python3 main.py",
        "/init.bash: line 637:   289 Segmentation fault      ${COMFY_CMDLINE}", "段错误 (核心已转储)",
        ":0:rocdevice.cpp :2984: Callback: Queue aborting with error : HSA_STATUS_ERROR_OUT_OF_REGISTERS",
        "comfyui-1 exited with code 139", "exited: comfyui (exit status 139; not expected)",
        "comfyui.service: Main process exited, code=dumped, status=11/SEGV",
        "Python process exited with code 3221225477 and signal null",
        "Press any key to continue . . .", "请按任意键继续. . .", by=Printer.SYSTEM,
    ),
)  # fmt: skip
SYSTEM_WORDS: Final = (
    b"--cache-none",
    b"ownloading ",
    b"Saving to: ",
    b"From: https",
    b"% Total ",
    b"Killed",
    b"oom-kill",
    b"SIGKILL",
    b"code=killed",
)
"""Of which each line of the system holds one, but for the last lines of a log."""
LAST_WORDS: Final = (
    b"core dumped", b"egmentation fault", b"Fatal Python", b"fatal exception", b"access fault",
    b"terminat", b"Aborted", b"Bus error", b"Illegal ins", b"Floating point", b"prompt_worker",
    b"malloc():", b"free():", b"realloc():", b"double free", b"corrupted ", b"stack smashing",
    b"HSA_STATUS", b"failed assertion", b"zsh: ", b"SIGSEGV", b"SIGABRT", b"SIGBUS", b"SIGILL",
    b"SIGFPE", b"exited", b"exit status", b"exit code", b"core-dump", b"result 'signal'",
    b"leaked semaphore", b"Stopped server", b"Gracefully ", b"Terminate batch", b"KeyboardInterrupt",
    *(words.encode() for words in (*_PAUSES, *_SIGNALS)),
)  # fmt: skip
"""Each line holds one that tells how a process ended, if it is among the last ones: of others nobody asks."""
