"""Rules about how models come onto the card: partly, again, from a slow disk, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from comfy.doctor.around import thrown_away
from comfy.doctor.encoder import REMEDY as ENCODER_REMEDY
from comfy.doctor.encoder import choice_of, is_low_by_itself, is_mac
from comfy.doctor.errors import HOST_MEMORY, NO_HOST_MEMORY, SMALLER_FILES, more_host_memory
from comfy.doctor.folklore import LONG_STEP_S
from comfy.doctor.record import Lines, Run, evidence
from comfy.doctor.report import Confidence, Cost, Evidence, Phase, Severity, Status
from comfy.doctor.rule import Case, Found, Rule, estimated, measured, seconds_in
from comfy.doctor.timeline import doubts_of, work_of
from comfy.log.entry import LogEntry
from comfy.log.facts import (
    AimdoFact,
    CacheFact,
    DeviceFact,
    DynamicVramFact,
    EvictedFact,
    HostMemoryFact,
    LeakFact,
    MemoryFact,
    ModelLoadedFact,
    ModelRequestedFact,
    NodeFailedFact,
    QuantisedOpsFact,
    RamLimitFact,
    ServerEndedFact,
    SlowKernelsFact,
    SmartMemoryOffFact,
    TextEncoderFact,
    UnloadedFact,
    VaeRetryFact,
    VramStateFact,
    WeightsFact,
)
from comfy.node_defs.node_classes import Work
from comfy.wan.forecast import host_bytes
from comfy.wan.models import GIB
from comfy.wan.speed import GB, has_fp8_units

_SLOW_DISK: Final = 200e6  # bytes per second: a spinning disk or a cold network volume
_USUAL_DISK: Final = 1.2 * GB
_LEAST_READ_BYTES: Final = 1 * GIB  # less is read too quickly to judge the disk
_LINK_SOURCE: Final = "PCIe x16 from pinned memory: 22 GB/s (PCIe 4), 45 GB/s (PCIe 5)"
_LOAD_SOURCE: Final = (
    "1.2 GB/s: first less second run of ComfyUI's documented workflows, docs.comfy.org/tutorials/video/wan"
)
_LONG_LOAD_S: Final = 15.0
_READ_AGAIN: Final = {True: "the second expert is", False: "a part of them is"}
# An encoder that samples took 5.69 s a step on a Mac's CPU and 0.84 s on its GPU; of others nothing is
# published.
_MAC_GPU_FASTER: Final = 6.8
_NO_UNITS: Final = "leave it: the card has no FP8 units, whatever torch; or 16-bit files, where they fit"
_MAC_SOURCE: Final = "https://github.com/Comfy-Org/ComfyUI/issues/15640"
_LONG_LOAD_PART: Final = 0.15
_NAMES_CARD: Final = re.compile(r"(?i)\bnvidia\b|\brocm\b|windows driver|cuda")


def _forced_low(case: Case) -> Iterator[Found]:
    for entry, fact in case.record.server.of(VramStateFact):
        if fact.state == "LOW_VRAM" and is_low_by_itself(case):
            continue
        if fact.state in ("LOW_VRAM", "NO_VRAM") and case.on_gpu:
            flag = "--novram" if fact.state == "NO_VRAM" else "--lowvram"
            felt = ": every layer crosses the bus in each step" if fact.state == "NO_VRAM" else ""
            yield Found(
                message=f"the server was started with {flag}{felt}",
                evidence=evidence([entry]),
                remedy=f"take {flag} out of ComfyUI's arguments; `farm plan-gpu` says what fits the card",
            )


def _encoder_on_cpu(case: Case) -> Iterator[Found]:
    for run, prompt in case.logged():
        slow = [entry for entry, fact in run.of(TextEncoderFact) if fact.device == "cpu"]
        if slow and case.on_gpu:
            seconds = seconds_in(prompt, Phase.TEXT)
            cost = _text_cost(case, run, seconds) if seconds is not None else None
            chosen = choice_of(case)
            yield Found(
                message=f"the text encoder computes on the CPU{chosen.by}",
                evidence=evidence(slow),
                cost=cost,
                prompt=run.number,
                remedy=chosen.remedy,
            )


def _text_cost(case: Case, run: Run, seconds: float) -> Cost:
    """By stamps the file of the next model may have been read in the same time."""
    if is_mac(case):
        part = 1 - 1 / _MAC_GPU_FASTER
        formula = f"text phase {seconds:.1f} s × (1 − 1/{_MAC_GPU_FASTER:g})"
        return estimated(seconds * part, 0.0, seconds * part, formula, _MAC_SOURCE)
    read_s = sum(size or 0.0 for _, _, size in _reads(run)) * 2**20 / _USUAL_DISK
    if case.times is not None or not read_s:
        return measured(seconds, f"text phase {seconds:.1f} s")
    formula = f"text phase {seconds:.1f} s, of which reading a model may have taken {read_s:.1f} s"
    return estimated(seconds - read_s / 2, seconds - read_s, seconds, formula, _LOAD_SOURCE)


def _reloaded(case: Case) -> Iterator[Found]:
    """Weights that are read from disk in prompt after prompt, all of the same kind."""
    server = case.record.server
    why = [entry for entry, fact in server.of(CacheFact) if fact.name == "none"]
    why += [entry for entry, _ in server.of(SmartMemoryOffFact)]
    again: list[Run] = []
    for before, run in zip(case.runs, case.runs[1:], strict=False):
        if run.server is before.server and _reads(run) and _reads(run) == _reads(before):
            again.append(run)
    # Two may be a change of models; three are none.
    if len(again) < (1 if why else 2):
        return
    prompts = {prompt.number: prompt for prompt in case.prompts}
    seconds = [seconds_in(prompts[run.number], Phase.LOADING) for run in again if run.number in prompts]
    known = [each for each in seconds if each is not None]
    evicted = any(run.count(UnloadedFact) for run in again)
    reason = _why_reloaded([entry.text for entry in why], again[-1], evicted=evicted)
    lines = [entry for run in again for entry, _ in run.of(WeightsFact)]
    yield Found(
        message=f"{len(again)} prompts read again what the one before had read: {reason}",
        evidence=evidence([*why, *lines], most=4),
        cost=measured(sum(known), f"loading of {len(known)} prompts") if known else _reading_cost(again),
        confidence=Confidence.PROVEN if why else Confidence.LIKELY,
        remedy="take --cache-none and --disable-smart-memory out of ComfyUI's arguments" if why else "",
    )


def _reads(run: Run) -> list[tuple[str, str | None, float | None]]:
    """The diffusion models that were read: their weights, and the size of the whole file."""
    weights = [(fact.dtype, fact.cast_to) for _, fact in run.of(WeightsFact)]
    loads = [fact.whole_mib or fact.brought_mib for _, fact in run.of(ModelLoadedFact) if fact.is_diffusion]
    big = [each for each in loads if each is not None and each * 2**20 > _LEAST_READ_BYTES]
    return [(*one, size) for one, size in zip(weights, big, strict=False)]


def _reading_cost(runs: list[Run]) -> Cost | None:
    mib = sum(size or 0.0 for run in runs for _, _, size in _reads(run))
    if not mib:
        return None
    seconds = mib * 2**20 / _USUAL_DISK
    formula = f"{mib / 1024:.1f} GiB / 1.2 GB/s"
    return estimated(seconds, seconds / 2, seconds * 2, formula, _LOAD_SOURCE)


def _why_reloaded(flags: list[str], run: Run, *, evicted: bool) -> str:
    if flags:
        return "a flag forbids to keep it"
    have, read = _host_mib(run.server), _read_mib(run)
    if have is not None and read is not None and read > 0.9 * have:
        return f"{have / 1024:.0f} GiB of host memory do not hold {read / 1024:.0f} GiB of files"
    if evicted:
        return "it had to make room"
    usual = "a loader's inputs changed, or another graph ran between"
    drops = any(fact.name == "ram pressure" for _, fact in run.server.of(CacheFact))
    return f"host memory ran short and its cache dropped them, {usual}" if drops else usual


def _host_mib(server: Lines) -> float | None:
    limit, memory = server.last(RamLimitFact), server.last(MemoryFact)
    return limit.limit_mib if limit is not None else memory.ram_mib if memory is not None else None


def _cache_off(case: Case) -> Iterator[Found]:
    off = [entry for entry, fact in case.record.server.of(CacheFact) if fact.name == "none"]
    if off:
        yield Found(
            message="the server was started with --cache-none: no prompt finds a model loaded",
            evidence=evidence(off),
        )


def _cold(case: Case) -> Iterator[Found]:
    for run, prompt in case.logged():
        seconds = seconds_in(prompt, Phase.LOADING)
        if not _is_cold(case, run) or seconds is None or not prompt.wall_s or prompt.status is Status.LOST:
            continue
        if seconds > _LONG_LOAD_S and seconds > _LONG_LOAD_PART * prompt.wall_s:
            lines = evidence([entry for entry, _ in run.of(ModelLoadedFact)])
            yield Found(
                message="no model was loaded yet: this prompt had to read them all",
                evidence=lines or (Evidence(text=f"loading {seconds:.1f} s"),),
                cost=measured(seconds, f"loading {seconds:.1f} s"),
                prompt=run.number,
                # Between the lines of a log other nodes may have run as well.
                confidence=Confidence.LIKELY if case.times is None else Confidence.PROVEN,
            )


def _evicted(case: Case) -> Iterator[Found]:
    """Within one prompt; from prompt to prompt it is `_reloaded`."""
    for run, prompt in case.logged():
        room = [entry for entry, fact in run.of(UnloadedFact) if fact.models] + [
            entry for entry, _ in run.of(EvictedFact)
        ]
        asked = [entry for entry, fact in run.of(ModelRequestedFact) if fact.is_diffusion]
        again = asked[run.read :] if run.read else []
        seconds = seconds_in(prompt, Phase.EVICTING)
        is_long = (seconds or 0.0) > max(_LONG_LOAD_S, _LONG_LOAD_PART * (prompt.wall_s or 0.0))
        # A release that counts what it unloads, and unloaded nothing, asked for a copy with other LoRAs.
        is_copy = not room and run.count(UnloadedFact) > 0
        if is_copy or (not again and not is_long):
            continue
        came = (
            f"{_models(run.read)} read, and diffusion models were asked for {len(asked)} times in one prompt"
        )
        yield Found(
            message="models make room for each other"
            + (f": {came}" if again else "")
            + ("" if room else ", unless copies with other LoRAs were asked for"),
            evidence=evidence([*again, *room]),
            cost=measured(seconds, f"evicting {seconds:.1f} s") if seconds is not None else None,
            prompt=run.number,
            confidence=Confidence.PROVEN if room else Confidence.LIKELY,
        )


def _models(count: int | None) -> str:
    return "one was" if count == 1 else f"{count} were"


def _is_cold(case: Case, run: Run) -> bool:
    """A job's own times tell whether a loader ran; a log only which prompt was the server's first."""
    if case.times is None:
        return run.first_of_server
    return any(node.phase is Phase.LOADING for node in case.times.nodes)


def _disk(case: Case) -> Iterator[Found]:
    for run, prompt in case.logged():
        seconds = seconds_in(prompt, Phase.LOADING)
        mib = _read_mib(run)
        if seconds is None or mib is None or mib * 2**20 < _LEAST_READ_BYTES or seconds < _LONG_LOAD_S:
            continue
        rate = mib * 2**20 / seconds
        if rate < _SLOW_DISK:
            usual = mib * 2**20 / _USUAL_DISK
            formula = f"{seconds:.1f} s − {mib / 1024:.1f} GiB / 1.2 GB/s"
            yield Found(
                message=f"models are read at {rate / 1e6:.0f} MB/s: a spinning disk or a network volume, "
                "unless other nodes ran before them",
                evidence=evidence([entry for entry, _ in run.of(WeightsFact)]),
                # The least is nothing: other nodes may have taken all of it.
                cost=estimated(seconds - usual, 0.0, seconds - usual / 2, formula, _LOAD_SOURCE),
                prompt=run.number,
                confidence=Confidence.LIKELY,
            )


def _read_mib(run: Run) -> float | None:
    """What was read of all files at most; None: not told."""
    diffusion = [fact for _, fact in run.of(ModelLoadedFact) if fact.is_diffusion]
    if any(fact.whole_mib is None for fact in diffusion) or not run.count(WeightsFact):
        return None
    # Each of the others once; a text encoder and a VAE are small beside it, or were read in this time, too.
    others = {
        fact.model_class: fact.whole_mib or 0.0
        for _, fact in run.of(ModelLoadedFact)
        if not fact.is_diffusion
    }
    return sum(size or 0.0 for _, _, size in _reads(run)) + sum(others.values())


def _host(case: Case) -> Iterator[Found]:
    # Whoever stops a container waits ten seconds, and has it killed then.
    parts = [part for part in (*case.runs, case.record.outside) if not _is_stopped(part)]
    facts = [(entry, fact) for part in parts for entry, fact in part.of(HostMemoryFact)]
    told = [entry for entry, fact in facts if fact.is_told]
    told += [
        entry
        for run in case.runs
        for entry, fact in run.of(NodeFailedFact)
        if NO_HOST_MEMORY.search(fact.message)
    ]
    killed = [entry for entry, fact in facts if not fact.is_told]
    ended = next((run for run in case.runs if run.status is Status.LOST and run.ended), None)
    of_it = [entry for entry, _ in facts if ended is not None and entry in ended.ended]
    lost = ended if of_it else None
    found = Found(
        message="the host had no memory left",
        evidence=evidence([*told, *killed]),
        remedy=more_host_memory(case),
        severity=Severity.ERROR if lost is not None else None,
        cost=thrown_away(case, lost) if lost is not None else None,
        prompt=lost.number if lost is not None else None,
    )
    if told:
        yield found
    elif killed:
        yield replace(
            found,
            message="the system ended ComfyUI, most often because the host had no memory left",
            confidence=Confidence.LIKELY,
            remedy="`dmesg | grep -i oom`, or `docker inspect`: OOMKilled, says whether it was; if so: "
            + more_host_memory(case),
        )
    else:
        yield from _little_host(case)


def _is_stopped(part: Lines) -> bool:
    return any(fact.is_asked_for for _, fact in part.of(ServerEndedFact))


def _little_host(case: Case) -> Iterator[Found]:
    """Nothing has failed yet: what the graph's files want, and what is there."""
    have = _host_mib(case.record.server)
    if have is None or case.work is None or not case.on_gpu:
        return
    wanted = host_bytes(case.work) / 2**20
    if have < wanted * 0.9:
        yield Found(
            message=f"{have / 1024:.0f} GiB of host memory, and this graph's files want "
            f"{wanted / 1024:.0f} GiB: {_READ_AGAIN[len(case.work.experts()) > 1]} read from disk again",
            evidence=evidence(
                [
                    entry
                    for entry in case.record.server.entries
                    if isinstance(entry.fact, RamLimitFact | MemoryFact)
                ]
            ),
            confidence=Confidence.LIKELY,
            remedy=more_host_memory(case),
        )


def _dynamic_off(case: Case) -> Iterator[Found]:
    """On NVIDIA's cards; on others it is new, and rarely installed."""
    if any(word in case.gpu for word in ("AMD", "Radeon", "Intel")):
        return
    off = [
        (entry, fact)
        for entry, fact in case.record.server.of(DynamicVramFact)
        if not fact.enabled and fact.why and "argument" not in fact.why
    ]
    server = case.record.server
    named = not server.count(DeviceFact) and (
        bool(server.count(AimdoFact)) or any(_NAMES_CARD.search(entry.text) for entry, _ in off)
    )
    if off and ((case.on_gpu and case.gpu) or named):
        yield Found(
            message=f"dynamic VRAM is not at work: {off[-1][1].why}",
            evidence=evidence([entry for entry, _ in off]),
        )


def _kernels(case: Case) -> Iterator[Found]:
    if not case.on_gpu or not case.gpu:
        return
    # No torch gives FP8 units to a card that has none.
    has_none = case.card is not None and not has_fp8_units(case.card)
    used = {fact.dtype for run in case.runs for _, fact in run.of(WeightsFact)}
    for run in case.runs:
        for entry, fact in run.of(QuantisedOpsFact):
            slow = [name for name in fact.emulated if any(name.split("_")[0] in dtype for dtype in used)]
            if slow:
                yield Found(
                    message=f"{', '.join(slow)} is emulated on this machine: no kernel computes it",
                    evidence=evidence([entry]),
                    prompt=run.number,
                    confidence=Confidence.LIKELY,
                    remedy=_NO_UNITS if has_none else "",
                )
    lines = [entry for entry, _ in case.record.server.of(SlowKernelsFact)]
    if lines and not has_none and any(run.count(QuantisedOpsFact) for run in case.runs):
        yield Found(
            message="torch is too old for the fast kernels of quantised files", evidence=evidence(lines)
        )


_ENCODE_IN_TILES: Final = (
    "a smaller start image or clip, VAEEncodeTiled where VAEEncode stands, or --reserve-vram 1"
)


def _vae(case: Case) -> Iterator[Found]:
    for run in case.runs:
        retries = [entry for entry, _ in run.of(VaeRetryFact)]
        if retries:
            yield Found(
                message="the VAE ran out of memory, and began again in tiles",
                evidence=evidence(retries),
                cost=_stamped_retries(run, retries) or _retry_cost(case),
                prompt=run.number,
                remedy="" if any(fact.decoding for _, fact in run.of(VaeRetryFact)) else _ENCODE_IN_TILES,
            )


def _stamped_retries(run: Run, retries: list[LogEntry]) -> Cost | None:
    """What the first tries took, each from the load of the VAE, which it begins with."""
    seconds = 0.0
    for retry in retries:
        told = [entry for entry in run.entries if entry.number < retry.number]
        before = told[-1].fact if told else None
        if not isinstance(before, ModelLoadedFact) or work_of(before.model_class or "") is not Work.VAE:
            return None
        began_s, ended_s = told[-1].at_s, retry.at_s
        if began_s is None or ended_s is None or ended_s < began_s:
            return None
        seconds += ended_s - began_s
    return (
        None
        if doubts_of(run)
        else measured(seconds, f"{seconds:.1f} s from the VAE's load to the second try")
    )


def _retry_cost(case: Case) -> Cost | None:
    vae = case.forecast.phases.get("vae") if case.forecast is not None else None
    if vae is None:
        return None
    formula = f"between none and all of a decode of {vae.seconds:.1f} s, thrown away"
    return estimated(vae.seconds / 2, 0.0, vae.high, formula, vae.source)


def _leak(case: Case) -> Iterator[Found]:
    lines = [entry for run in case.runs for entry, _ in run.of(LeakFact)]
    if lines:
        names = {fact.model_class for run in case.runs for _, fact in run.of(LeakFact)}
        yield Found(message=f"{', '.join(sorted(names))} is held by somebody", evidence=evidence(lines))


def _no_card(case: Case) -> Iterator[Found]:
    device = [entry for entry, fact in case.record.server.of(DeviceFact) if fact.device.startswith("cpu")]
    slow = [
        one.seconds_per_step
        for prompt in case.prompts
        for one in prompt.samplers
        if (one.seconds_per_step or 0.0) > LONG_STEP_S
    ]
    if device and slow and not case.gpu:  # models for tests compute there well
        yield Found(message=f"it computes on the CPU: {slow[0]:.0f} s a step", evidence=evidence(device))
    state = [entry for entry, fact in case.record.server.of(VramStateFact) if fact.state == "DISABLED"]
    if state and case.gpu:
        yield Found(
            message=f"it computes on the CPU, and there is a {case.gpu}",
            evidence=(*evidence(state), Evidence(text=f"card: {case.gpu}")),
        )


RULES: Final = (
    Rule(
        id="low-vram-forced",
        severity=Severity.WARNING,
        title="a flag keeps weights off the card",
        remedy="take --lowvram or --novram out of ComfyUI's arguments",
        check=_forced_low,
        source="https://github.com/Comfy-Org/ComfyUI (comfy/model_management.py)",
    ),
    Rule(
        id="computes-on-cpu",
        severity=Severity.ERROR,
        title="it computes on the CPU beside a card, or more than 20 s a step",
        remedy="`farm check`; see that CUDA_VISIBLE_DEVICES is not empty and torch is built for CUDA",
        check=_no_card,
        source="https://github.com/Comfy-Org/ComfyUI (comfy/model_management.py)",
    ),
    Rule(
        id="model-read-again",
        severity=Severity.WARNING,
        title="every prompt reads the models from disk again",
        remedy="keep one graph's jobs together, give the host more memory, leave loaders' inputs as they are",
        check=_reloaded,
        cost="loading of those prompts, by stamps; else their bytes / 1.2 GB/s",
        source=_LOAD_SOURCE,
    ),
    Rule(
        id="cache-off",
        severity=Severity.WARNING,
        title="results and models of a prompt are dropped at its end",
        remedy="take --cache-none out of ComfyUI's arguments",
        check=_cache_off,
        source="https://github.com/Comfy-Org/ComfyUI/pull/13802",
    ),
    Rule(
        id="cold-start",
        severity=Severity.INFO,
        title="the first prompt after a start reads and loads everything",
        remedy="keep workers alive between jobs, and send one kind of job to one worker",
        check=_cold,
        cost="loading, by stamps or by the websocket",
    ),
    Rule(
        id="slow-disk",
        severity=Severity.WARNING,
        title="models are read at less than 200 MB/s",
        remedy="put the models onto a local NVMe disk, or have host memory keep them",
        check=_disk,
        cost="loading − bytes / 1.2 GB/s",
        source=_LOAD_SOURCE,
    ),
    Rule(
        id="host-ram-short",
        severity=Severity.WARNING,
        title="host memory does not hold the files of a job",
        remedy=HOST_MEMORY + SMALLER_FILES,
        check=_host,
        source="https://github.com/Comfy-Org/ComfyUI/issues/14276",
    ),
    Rule(
        id="dynamic-vram-off",
        severity=Severity.WARNING,
        title="ComfyUI falls back to its old memory management",
        remedy="install comfy-aimdo of ComfyUI's requirements.txt, and torch 2.8 or newer",
        check=_dynamic_off,
        source="https://github.com/Comfy-Org/ComfyUI/pull/12557",
    ),
    Rule(
        id="kernels-emulated",
        severity=Severity.WARNING,
        title="a quantised format has no kernel here",
        remedy="torch built for cu130 or newer with comfy-kitchen, or a format that the card computes",
        check=_kernels,
        source="https://github.com/Comfy-Org/ComfyUI/issues/14824",
    ),
    Rule(
        id="vae-retried",
        severity=Severity.WARNING,
        title="the VAE ran out of memory and decoded in tiles",
        remedy="VAEDecodeTiled in place of VAEDecode, or --reserve-vram 1",
        check=_vae,
        cost="the attempt that was thrown away, by stamps; else up to one decode",
        source="https://github.com/Comfy-Org/ComfyUI (comfy/sd.py)",
    ),
    Rule(
        id="encoder-on-cpu",
        severity=Severity.WARNING,
        title="the text encoder computes on the CPU",
        remedy=ENCODER_REMEDY,
        check=_encoder_on_cpu,
        cost="the text phase, by stamps or by the websocket",
        source="https://github.com/Comfy-Org/ComfyUI (nodes.py, CLIPLoader)",
    ),
    Rule(
        id="model-evicted",
        severity=Severity.WARNING,
        title="models push each other off the card within a prompt",
        remedy="files of fewer bits, or a card that holds both; what needs another model behind all "
        "samplers; no nodes that empty the card between them",
        check=_evicted,
        cost="from a request until what was in the way is gone, and until a model is back; by stamps",
        source="https://github.com/Comfy-Org/ComfyUI (comfy/model_management.py, load_models_gpu)",
    ),
    Rule(
        id="model-held",
        severity=Severity.WARNING,
        title="a model is held although nobody needs it: memory grows",
        remedy="update the custom nodes; restart ComfyUI now and then (FARM_RECYCLE_JOBS)",
        check=_leak,
        source="https://github.com/Comfy-Org/ComfyUI (comfy/model_management.py)",
    ),
)
