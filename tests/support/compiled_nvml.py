"""A driver library compiled from C in the place of NVIDIA's: a process finds it as it finds the real one.

It reads the file that FAKE_NVML_STATE names for each question, so cards change, go and come under a living
process. First line: what ``nvmlInit`` answers. Then one line for each card, ``card TOTAL USED MAJOR MINOR RC
NAME`` (MiB; RC is what each question about it answers), and behind a card its slices, as ``mig …``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOST, NOT_LOADED, MISMATCH = 15, 9, 18  # NVML's error codes

_SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define MIB (1024ull * 1024ull)
typedef struct { int mig, major, minor, rc, parent; unsigned long long total, used; char name[96]; } Card;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;
static Card cards[32];
static int many, init_answer, begun;
static int look(void) {
  const char *path = getenv("FAKE_NVML_STATE");
  FILE *file = path ? fopen(path, "r") : 0;
  char kind[8];
  many = 0;
  if (!file) return 9;
  if (fscanf(file, "%d", &init_answer) != 1) init_answer = 999;
  int parent = -1;
  while (many < 32) {
    Card *c = &cards[many];
    if (fscanf(file, "%7s %llu %llu %d %d %d %95[^\n]", kind, &c->total, &c->used, &c->major, &c->minor,
               &c->rc, c->name) != 7) break;
    c->mig = !strcmp(kind, "mig");
    if (!c->mig) parent = many;
    c->parent = parent;
    many++;
  }
  fclose(file);
  return init_answer;
}
static int place(int wanted, int mig, int parent) {
  for (int i = 0, n = 0; i < many; i++)
    if (cards[i].mig == mig && (!mig || cards[i].parent == parent) && n++ == wanted) return i;
  return -1;
}
static int of(void *handle, Card **card) {
  if (!begun) return 1;
  int answer = look(), i = (int)(size_t)handle - 1;
  if (answer) return answer;
  if (i >= many) return 15;
  *card = &cards[i];
  return cards[i].rc;
}
#define ASK Card *c; int rc = of(d, &c); if (rc) return rc;
int nvmlInitWithFlags(unsigned f) { (void)f; int rc = look(); if (!rc) begun = 1; return rc; }
int nvmlShutdown(void) { begun = 0; return 0; }
const char *nvmlErrorString(int rc) { return rc == 15 ? "GPU is lost" : "some error"; }
int nvmlSystemGetDriverVersion(char *s, unsigned n) { snprintf(s, n, "580.95.05"); return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) {
  int rc = look(); if (rc) return rc;
  *n = 0; for (int i = 0; i < many; i++) *n += !cards[i].mig; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) {
  look(); int at = place(i, 0, 0); if (at < 0) return 2;
  *d = (void *)(size_t)(at + 1); return cards[at].rc; }
int nvmlDeviceGetUUID(void *d, char *s, unsigned n) {
  ASK snprintf(s, n, "%s-%08d-0000", c->mig ? "MIG" : "GPU", (int)(size_t)d); return 0; }
int nvmlDeviceGetName(void *d, char *s, unsigned n) { ASK snprintf(s, n, "%s", c->name); return 0; }
int nvmlDeviceGetMemoryInfo(void *d, Memory *m) {
  ASK m->total = c->total * MIB; m->used = c->used * MIB; m->free = m->total - m->used; return 0; }
int nvmlDeviceGetMemoryInfo_v2(void *d, Memory2 *m) {
  if (m->version != 0x02000028) return 25;
  ASK m->total = c->total * MIB; m->used = c->used * MIB; m->reserved = 256 * MIB;
  m->free = m->total - m->used - m->reserved; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *d, int *a, int *b) {
  ASK *a = c->major; *b = c->minor; return 0; }
int nvmlDeviceGetMigMode(void *d, unsigned *now, unsigned *next) {
  ASK int cut = place(0, 1, (int)(size_t)d - 1) >= 0; if (!cut) return 3; *now = *next = 1; return 0; }
int nvmlDeviceGetMaxMigDeviceCount(void *d, unsigned *n) { (void)d; *n = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *d, unsigned i, void **slice) {
  look(); int at = place(i, 1, (int)(size_t)d - 1); if (at < 0) return 6;
  *slice = (void *)(size_t)(at + 1); return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *n, void *found) {
  (void)found; ASK *n = 0; return 0; }
"""

_CHILD = """
import json, os, sys
from pathlib import Path
from worker.errors import GpuUnusable
from worker.gpu.card import read_card, read_cards
state, first = Path(os.environ["FAKE_NVML_STATE"]), None
for line in sys.stdin:
    text = json.loads(line)
    state.write_text(text) if text is not None else state.unlink()
    try:
        cards = read_cards() if first is None else [read_card(first)]
        first = first or (cards[0].uuid if os.environ.get("KEEP") else None)
        told = [dict(name=c.name, total=c.total_bytes, free=c.free_bytes, gib=c.vram_class_gib, uuid=c.uuid,
                     parent=c.parent_uuid, capability=c.compute_capability) for c in cards]
    except GpuUnusable as exc:
        told = dict(state=exc.state, words=str(exc))
    print(json.dumps(told), flush=True)
"""


def build(folder: Path) -> Path:
    """Compile the library into a folder, by the name under which NVIDIA's is looked for."""
    source, library = folder / "nvml.c", folder / "libnvidia-ml.so.1"
    source.write_text(_SOURCE)
    flags = ["-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run(["gcc", *flags, "-o", str(library), str(source)], check=True)
    return folder


def seen(folder: Path, states: Sequence[str | None], *, keep: bool = False) -> list[Any]:
    """What one process reads of the cards in each state, one after the other: facts, or the named state.

    Args:
        states: None: no driver answers any more.
        keep: read the first state's first card by its UUID from then on, as a worker does.
    """
    environ = {**os.environ, "LD_LIBRARY_PATH": str(folder), "FAKE_NVML_STATE": str(folder / "state")}
    ended = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input="".join(json.dumps(state) + "\n" for state in states),
        env={**environ, "KEEP": "1"} if keep else environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def a_card(total_mib: int, name: str, *, used_mib: int = 300, rc: int = 0, kind: str = "card") -> str:
    """One line of a state."""
    return f"{kind} {total_mib} {used_mib} 8 9 {rc} {name}\n"
