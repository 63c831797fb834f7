"""The command that serves the fleet's metrics to Prometheus."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from farm.cli.terminal.door import door_of, say
from farm.cli.terminal.ending import told_to_end
from farm.errors import SettingsError
from farm.installed import how_to_install

DEFAULT_PORT: Final = 9640
_Port = Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0: any free port.")]
_Host = Annotated[str, typer.Option(help="Address to listen on; it asks for no password.")]
_Once = Annotated[bool, typer.Option("--once", help="Print one scrape and end.")]


def metrics(
    context: typer.Context, port: _Port = DEFAULT_PORT, host: _Host = "127.0.0.1", once: _Once = False
) -> None:
    """Serve metrics of the whole fleet to Prometheus, until told to end; docs/metrics.md names them."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest, start_http_server

        from farm.fleet.metrics import FleetCollector
    except ModuleNotFoundError as exc:
        raise SettingsError(f"the exporter is not installed: {how_to_install('metrics')}") from exc
    door = door_of(context)
    with door.farm() as farm:
        farm.store.ping()  # a wrong address is told at once; later ones are a metric
        registry = CollectorRegistry()
        registry.register(FleetCollector(farm.store))
        if once:
            say(door.out, generate_latest(registry).decode().rstrip())
            return
        with told_to_end() as ended:
            try:
                server, thread = start_http_server(port, addr=host, registry=registry)
            except OSError as exc:
                raise SettingsError(
                    f"cannot listen on {host}:{port}: {exc.strerror or exc}; choose another with --port"
                ) from exc
            say(door.out, f"metrics at http://{host}:{server.server_port}/metrics")
            door.out.file.flush()
            ended.wait()
            server.shutdown()
            thread.join()
            server.server_close()
