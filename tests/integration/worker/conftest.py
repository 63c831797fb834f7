"""A stand-in for an installed ComfyUI: a folder with its `main.py`, told what to do by its arguments."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

MAIN = '''
"""Takes ComfyUI's flags, answers /system_stats, and fails on request."""
import argparse, os, sys
here = os.path.dirname(os.path.abspath(__file__))
def first_time(what):
    """Whether this is the first process that plays it."""
    mark = os.path.join(here, what)
    if os.path.exists(mark):
        return False
    open(mark, "w").close()
    return True
if "--help" in sys.argv and os.path.exists(os.path.join(here, "kill-help")) and first_time("help-killed"):
    os.kill(os.getpid(), 9)
parser = argparse.ArgumentParser()
for flag in ("--listen", "--port", "--output-directory", "--temp-directory", "--input-directory",
             "--user-directory", "--base-directory", "--database-url", "--preview-method", "--play"):
    parser.add_argument(flag)
parser.add_argument("--verbose", choices=["DEBUG", "INFO", "WARNING"])
parser.add_argument("--disable-auto-launch", action="store_true")
group = parser.add_mutually_exclusive_group()
group.add_argument("--cpu", action="store_true")
group.add_argument("--novram", action="store_true")
args = parser.parse_args()
import comfy.options  # its own
import http.server, json, os, signal, sys, time
play = args.play or ""
print("Set vram state to: " + ("DISABLED" if args.cpu else "NORMAL_VRAM"), flush=True)
if play == "import":
    import torch_that_is_missing
if play == "crash":
    sys.exit("RuntimeError: something else")
if play == "port":
    raise OSError(98, "error while attempting to bind: address already in use")
if play == "kill" or (play == "kill-once" and first_time(play)):
    os.kill(os.getpid(), 9)
if play == "kill-guard-once" and first_time(play):
    os.kill(os.getppid(), 9)
    time.sleep(600)
if play == "read-only":
    raise OSError(30, "Read-only file system", "/models")
if play == "ignores-sigterm":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if play == "silent":
    time.sleep(600)
if play == "freezes":
    os.kill(os.getpid(), signal.SIGSTOP)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(3)
        body = json.dumps({
            "system": {"comfyui_version": "9.9.9", "argv": sys.argv, "python_version": "3.11.7 (x)",
                       "pytorch_version": "2.9", "ram_total": 1024},
            "devices": [{"name": "cpu", "type": "cpu", "vram_total": 5, "vram_free": 4}],
            "seen": {"cwd": os.getcwd(), "env": dict(os.environ), "path": sys.path},
        }).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer((args.listen, int(args.port)), Handler)
print("To see the GUI go to: http://" + args.listen, flush=True)
server.serve_forever()
'''


@pytest.fixture
def comfyui_dir(tmp_path: Path) -> Path:
    """The folder of an installed ComfyUI, as far as starting it goes."""
    folder = tmp_path / "ComfyUI"
    (folder / "comfy").mkdir(parents=True)
    (folder / "comfy" / "options.py").write_text("args_parsing = False\n")
    (folder / "nodes.py").touch()
    (folder / "main.py").write_text(textwrap.dedent(MAIN))
    return folder
