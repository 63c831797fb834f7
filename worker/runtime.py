"""How a worker is put together: `build` makes a whole one, with nothing to be filled in later."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from farm.broker import CeleryNotifier, make_app
from farm.local.surroundings import settings_here
from farm.settings.graphs import GateSettings
from farm.settings.redis import RedisSettings, StoreSettings
from farm.settings.s3 import CleanSettings, S3Settings
from farm.settings.worker import WorkerSettings
from farm.status.worker import WorkerStatus
from farm.storage import S3Patience, S3Storage, Storage
from farm.store.redis.store import connect, store_limits
from farm.store.roles import JobStore
from farm.upkeep.cleaning import Cleaner, limits_of
from farm.upkeep.courier import courier_of
from farm.upkeep.janitor import Janitor
from farm.upkeep.steward import Steward
from worker.comfyui.own_comfy import OwnComfy
from worker.fetching.flower import Show
from worker.fetching.gate import Gate
from worker.fetching.watchdog import MessageLine, Watchdog, work_waits
from worker.gpu.card import GIB
from worker.inputs.cache import InputCache
from worker.jobs.at_work import AtWork
from worker.jobs.context import AttemptContext
from worker.jobs.lease import LeaseKeeper
from worker.life import Worker, give_up
from worker.machine import Machine
from worker.results.publish import Publisher
from worker.results.republish import Republisher
from worker.results.retained import RetainedRenders
from worker.results.storage_watch import StorageWatch
from worker.service.attempt_hooks import WorkerHooks
from worker.service.control import ControlListener
from worker.service.definitions import Definitions
from worker.service.describe import StatusMaker
from worker.service.desk import Desk
from worker.service.disk import DiskWatch, written_folders
from worker.service.draining import Draining
from worker.service.epoch import EpochWatch
from worker.service.giving_way import GivingWay
from worker.service.graph_fitter import GraphFitter
from worker.service.health import Health
from worker.service.holds import Holds, hold_on_card, hold_on_name, identity_of
from worker.service.lifetime import Lifetime, Part
from worker.service.model_shelf import ModelShelf
from worker.service.spot import spot_watch
from worker.service.status_keeper import StatusKeeper

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that a worker is told by its environment."""

    redis: RedisSettings
    store: StoreSettings
    s3: S3Settings
    worker: WorkerSettings
    gate: GateSettings
    clean: CleanSettings

    @classmethod
    def here(cls) -> Self:
        """From the environment, else as the stack has it that runs here.

        Raises:
            SettingsError: a variable is wrong; the message names it.
        """
        return cls(
            redis=settings_here(RedisSettings),
            store=StoreSettings.read(),
            s3=settings_here(S3Settings),
            worker=settings_here(WorkerSettings),
            gate=GateSettings.read(),
            clean=CleanSettings.read(),
        )

    @property
    def threads(self) -> int:
        """How many jobs are in hand at once; the gate lets in no more.

        One renders, one is put away because it finds no publisher, the others publish.
        """
        return 2 + self.worker.publish_slots


def build(settings: Settings, *, name: str, gate: Gate, line: MessageLine, show: Show) -> Worker:
    """Make the whole worker: its machine is read and planned for, its folder and card are its own.

    Asks neither Redis nor the storage anything. Each thread that must not wait for another has a Redis
    connection of its own.

    Args:
        name: of the worker; the farm knows it by that.
        line: how messages come.
        show: how Flower hears of jobs.

    Raises:
        SettingsError: an address is none.
        GpuUnusable, ComfyUnusable: there is no card or ComfyUI to use.
        InUse, FolderUnusable: its folder or card cannot be had.
    """
    notifier = CeleryNotifier(make_app(settings.redis), settings.redis.namespace)
    # Whoever uses it has a patience of its own: what is to be stored waits on the disk, not in a request.
    storage = S3Storage(settings.s3, patience=S3Patience(silence_s=10.0, attempts=2))
    changed = threading.Event()
    machine = Machine(settings.worker, gate, name=name, on_change=changed.set)
    machine.take()
    try:
        return assemble(
            settings,
            name=name,
            gate=gate,
            line=line,
            show=show,
            machine=machine,
            storage=storage,
            open_store=lambda: connect(settings.redis, store_limits(settings.store), notifier),
            changed=changed,
        )
    except BaseException:
        machine.stop()
        raise


def assemble(
    settings: Settings,
    *,
    name: str,
    gate: Gate,
    line: MessageLine,
    show: Show,
    machine: Machine,
    storage: Storage,
    open_store: Callable[[], JobStore],
    changed: threading.Event,
) -> Worker:
    """The worker over a machine that is its own, and over any store and storage.

    Args:
        open_store: gives a store with a connection of its own.
        changed: set when the status is to be written anew.
    """
    own, limits, lifetime = settings.worker, settings.store, Lifetime()

    def opened() -> JobStore:
        made = open_store()
        lifetime.at_end(made.close)
        return made

    store = opened()
    # It waits for requests that are on their way, which a silent storage does not answer.
    lifetime.at_end(threading.Thread(target=storage.close, name="close-storage", daemon=True).start)
    identity = identity_of(own.data_dir)
    holds = [hold_on_name(store, name, identity)]
    if machine.gpu is not None and machine.owns_card:
        holds.append(hold_on_card(store, name, identity, machine.gpu))
    held = Holds(holds, gate)
    lifetime.at_end(held.release)
    lifetime.at_end(machine.stop)

    at_work = AtWork()
    keeper = LeaseKeeper(opened(), renew_s=limits.renew_s, lease_s=limits.lease_s)
    epoch = EpochWatch(store)
    draining = Draining(name, store, gate, keeper, at_work, epoch, on_change=changed.set)
    retained = RetainedRenders(
        # The folder, its notes and their fields are named as before: an upgrade finds what waits there.
        own.data_dir / "kept",
        limit_bytes=int(own.retained_limit_gib * GIB),
    )
    storage_watch = StorageWatch(name, gate, store, retained, on_change=changed.set)
    disk = DiskWatch(gate, written_folders(own.data_dir), on_change=changed.set)
    health = Health(
        gate,
        machine.probe,
        first_probe_s=own.probe_after_s,
        card_trouble=lambda: machine.card_trouble,
        disk_is_full=disk.is_full,
        briefs=store.briefs,
        judged_elsewhere=lambda: [each.judged for each in store.workers() if each.name != name],
        on_change=changed.set,
    )
    watchdog = Watchdog(
        gate,
        work_waits=lambda: work_waits(store, line),
        reconnect=line.cut,
        give_up=lambda: give_up(gate, lifetime),
        on_change=changed.set,
    )
    definitions = Definitions(store, machine.comfy)
    shelf = ModelShelf(store, own)
    epoch.on_forgot(definitions.forget)
    epoch.on_forgot(shelf.forget)
    epoch.on_forgot(keeper.renew_now)  # it is answered that the attempts of before are lost
    status = StatusMaker(
        name,
        own,
        gate,
        machine,
        disk=disk,
        storage=storage_watch,
        health=health,
        draining=draining,
        definitions=definitions,
        epoch=epoch,
        shelf=shelf,
        at_work=at_work,
        watchdog=watchdog,
    )

    scratch = own.data_dir / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    publisher = Publisher(
        storage,
        patience_s=own.publish_patience_s,
        hurry=lambda: gate.crowded or bool(retained.all()),
    )
    lifetime.at_end(publisher.close)
    desk = Desk(
        AttemptContext(
            name=name,
            store=store,
            keeper=keeper,
            comfy=OwnComfy(machine.comfy),
            fitter=GraphFitter(name, own, machine, definitions, allowed_nodes=settings.gate.allowed_nodes),
            inputs=InputCache(own.data_dir / "inputs", storage=storage, settings=own),
            publisher=publisher,
            retained=retained,
            hooks=WorkerHooks(
                machine,
                gate,
                disk=disk,
                health=health,
                storage=storage_watch,
                draining=draining,
                shelf=shelf,
                status=status,
            ),
            hold_limit_s=own.hold_s,
            scratch=scratch,
            renew_s=limits.renew_s,
            inputs_time_s=own.inputs_time_s,
            previews=own.previews,
            prompt_metadata=own.prompt_metadata,
            clip_limits=own.clip_thresholds,
        ),
        at_work,
        draining,
        GivingWay(name, store, sweep_s=limits.sweep_s, leaves=lambda: draining.takes_no_job),
        changed,
        show,
    )

    def refresh() -> WorkerStatus:
        """What is due every few seconds, and then the status."""
        held.keep()
        draining.obey()
        definitions.refresh()
        return status.status()

    spot, cleans = spot_watch(own, draining.notice), opened()
    parts: list[Part] = [
        keeper,
        disk,
        health,
        shelf,
        Republisher(
            name,
            retained,
            opened(),
            storage_watch,
            ask_storage=storage.check,
            publish=desk.publish,
            hold_limit_s=own.hold_s,
        ),
        StatusKeeper(opened(), name, refresh, changed=changed),
        Janitor(
            cleans,
            Cleaner(cleans, storage, limits_of(settings.clean)),
            holder=name,
            every_s=settings.clean.every_s,
        ),
        *([spot] if spot is not None else []),
        ControlListener(store, on_cancel=keeper.renew_now, on_drain=draining.obey),
    ]
    return Worker(
        gate=gate,
        store=store,
        storage=storage,
        machine=machine,
        holds=held,
        retained=retained,
        storage_watch=storage_watch,
        name=name,
        steward=Steward(
            opened(),
            holder=name,
            sweep_s=limits.sweep_s,
            grace_s=limits.grace_s,
            courier=courier_of(opened(), own),
        ),
        desk=desk,
        draining=draining,
        drain_grace_s=own.drain_grace_s,
        parts=parts,
        watchdog=watchdog,
        lifetime=lifetime,
        changed=changed,
    )
