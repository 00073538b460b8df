# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control channel: a Unix socket, one JSON object a line each way; ``FleetClient`` is its other end.

Request ``{"do": "counters", "host": "hv1"}``; answer ``{"ok": true, "result": ...}`` or ``{"ok": false,
"error": "..."}``.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import pathlib
import socket
import socketserver
import threading
import typing as t

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError

from ._reader import ScenarioError
from .driver import HostState
from .faults import parse_fault
from .scenario import Workload, parse_delays, parse_workload

Command = t.Callable[..., t.Any]


class Commands:
    """What a test may ask of a running fleet; every public method is a command."""

    def __init__(self, hosts: dict[str, HostState], extra: t.Mapping[str, Command] | None = None) -> None:
        self._hosts = hosts
        self._extra = dict(extra or {})

    def run(self, request: dict[str, t.Any]) -> t.Any:
        """Do one request; raise FleetError."""
        name = str(request.pop("do", ""))
        command = self._extra.get(name) or (
            None if name.startswith("_") or name == "run" else getattr(self, name, None)
        )
        if command is None:
            raise FleetError(f"{name!r} is not a command")
        try:
            return command(**request)
        except (KeyError, TypeError, ScenarioError) as error:
            raise FleetError(f"{name}: {error.args[0] if error.args else error}") from error
        except OSError as error:
            raise FleetError(errno.errorcode[error.errno or 0]) from error

    def _host(self, name: str) -> HostState:
        if name not in self._hosts:
            raise FleetError(f"there is no host {name!r} in this fleet")
        return self._hosts[name]

    def status(self) -> dict[str, t.Any]:
        """Every host with what it has now."""
        return {
            name: {
                "boot_id": host.boot_id,
                "parents": sum(parent.alive for parent in host.parents.values()),
                "devices": len(host.devices),
                "workloads": sorted(host.workloads),
                "faults": len(host.faults.active),
                "stuck": sum(fault.stuck for fault in host.faults.active),
            }
            for name, host in self._hosts.items()
        }

    def counters(self, host: str | None = None) -> dict[str, dict[str, dict[str, int]]]:
        """Host -> node -> reads, writes, accepts, rejects; nodes that nobody touched are not listed."""
        wanted = self._hosts if host is None else {host: self._host(host)}
        return {
            name: {node: dataclasses.asdict(item) for node, item in list(state.counters.items())}
            for name, state in wanted.items()
        }

    def reset_counters(self) -> None:
        """Start counting at zero."""
        for host in self._hosts.values():
            host.counters.clear()

    def fault_set(self, host: str, fault: dict[str, t.Any]) -> int:
        """Set a fault as the scenario would write it; return its number."""
        return self._host(host).faults.add(parse_fault(fault)).id

    def fault_clear(self, host: str | None = None, node: str | None = None, id: int | None = None) -> int:  # noqa: A002
        """Clear faults, letting go whoever hangs in them; return how many."""
        wanted = list(self._hosts.values()) if host is None else [self._host(host)]
        return sum(state.faults.clear(node, id) for state in wanted)

    def faults(self, host: str) -> list[dict[str, t.Any]]:
        """Active faults and how many accesses are stuck in each."""
        return [
            {
                "id": fault.id,
                "node": fault.spec.node,
                "kind": fault.spec.kind,
                "op": fault.spec.op,
                "stuck": fault.stuck,
            }
            for fault in self._host(host).faults.active
        ]

    def unplug(self, host: str, parent: str) -> None:
        """Take a parent away."""
        self._host(host).unplug(parent)

    def plug(self, host: str, parent: str) -> None:
        """Register a parent (again)."""
        self._host(host).plug(parent)

    def remove_type(self, host: str, parent: str, type: str) -> None:  # noqa: A002
        """Take a type away."""
        self._host(host).remove_type(parent, type)

    def set_driver(self, host: str, driver: str, version: str, string_version: str | None = None) -> None:
        """Load another driver version."""
        self._host(host).set_driver(driver, version, string_version)

    def reboot(self, host: str) -> str:
        """Restart a host; return its new boot id."""
        state = self._host(host)
        state.reboot()
        return state.boot_id

    def unregister(self, host: str, parent: str) -> None:
        """Unload a parent's mdev driver: no types, no instances."""
        self._host(host).unregister(parent)

    def unload(self, host: str, driver: str) -> None:
        """Unload a driver of parents, as rmmod does."""
        self._host(host).unload(driver)

    def load(self, host: str, driver: str) -> None:
        """Load it again."""
        self._host(host).load(driver)

    def set_delays(self, host: str, parent: str, **delays: float) -> None:
        """How long things take on a parent from now on; what is not named stays."""
        state = self._host(host).parent(parent)
        state.delays = parse_delays(delays, state.delays)

    def start_workload(self, host: str, workload: dict[str, t.Any]) -> int:
        """Start a process that holds devices, as the scenario would write it; return its pid below ``proc``."""
        return started(self._host(host), workload).pid

    def stop_workload(self, host: str, name: str) -> None:
        """End a process: its devices are no longer in use."""
        self._host(host).stop_workload(name)


def started(state: HostState, data: dict[str, t.Any]) -> Workload:
    """Let a workload of plain data hold its devices."""
    with state.lock:
        free = max([2000, *(item.pid for item in state.workloads.values())]) + 1
        workload = parse_workload(data, free)
        state.start_workload(workload)
    return workload


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        commands = t.cast("ControlServer", self.server).commands
        for line in self.rfile:
            try:
                answer: dict[str, t.Any] = {"ok": True, "result": commands.run(json.loads(line))}
            except (FleetError, ValueError, AttributeError) as error:
                answer = {"ok": False, "error": str(error)}
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class ControlServer(socketserver.ThreadingUnixStreamServer):
    """Answers on a Unix socket, one thread a connection."""

    daemon_threads = True

    def __init__(self, path: pathlib.Path, commands: Commands) -> None:
        self.commands = commands
        super().__init__(str(path), _Handler)

    def start(self) -> None:
        """Serve in the background."""
        threading.Thread(target=self.serve_forever, name="control", daemon=True).start()


class FleetClient:
    """Talks to a running fleet: ``client("unplug", host="hv1", parent="0000:3b:00.0")`` or ``client.counters()``."""

    def __init__(self, path: str | pathlib.Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise FleetError(f"no fleet answers on {path} ({error.strerror}); start one with: up") from error
        self._lines = self._socket.makefile("rb")

    def __call__(self, do: str, **arguments: t.Any) -> t.Any:
        """Ask one thing; raise FleetError when the fleet says no."""
        self._socket.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
        line = self._lines.readline()
        if not line:
            raise FleetError(f"{do}: the fleet ended")
        answer = json.loads(line)
        if not answer["ok"]:
            raise FleetError(answer["error"])
        return answer["result"]

    def counters(self, host: str) -> dict[str, dict[str, int]]:
        """Node -> reads, writes, accepts, rejects of one host."""
        return t.cast("dict[str, dict[str, int]]", self("counters", host=host)[host])

    def total(self, what: str) -> int:
        """Sum of one counter over all migration_version nodes of the fleet."""
        hosts = self("counters").values()
        return sum(item[what] for nodes in hosts for node, item in nodes.items() if node.endswith("/migration_version"))

    def fault(self, host: str, node: str, **fault: t.Any) -> int:
        """Set a fault: ``client.fault("hv1", node, kind="hang", op="read")`` or ``fault="R8"``."""
        return t.cast(int, self("fault_set", host=host, fault={"node": node, **fault}))

    def clear(self, host: str | None = None) -> None:
        """Clear all faults of a host, or of all."""
        self("fault_clear", host=host)

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()
