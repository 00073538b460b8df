# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a maintenance that are not the collection's, on a simulated fleet: VMs migrate, hosts restart.

    python -m ansible_collections.vfio.migration.tests.tools.maintenance migrate FLEET PLAN WAVE...
    python -m ansible_collections.vfio.migration.tests.tools.maintenance restart FLEET HOST...

FLEET is the fleet's directory. A VM migrates as QEMU lets it: its process on the target opens the new devices before
the one on the source ends.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError
from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated.control import FleetClient


def migrate(client: FleetClient, moves: t.Iterable[_model.Move], waves: t.Collection[int]) -> list[str]:
    """Every VM of these waves leaves its source; a line for each."""
    lines = []
    for move in moves:
        if move["wave"] not in waves:
            continue
        name = move["name"] or move["workload"]
        devices = [one["uuid"] for one in move["devices"]] + [one["device"] for one in move["passthrough"]]
        workload = {"name": name, "uuid": move["workload"], "devices": devices}
        client("start_workload", host=move["target"], workload=workload)
        client("stop_workload", host=move["source"], name=name)
        lines.append(f"{name} runs on {move['target']} now, and no longer on {move['source']}")
    return lines


def stop(client: FleetClient, stopped: t.Iterable[_model.Stopped], hosts: t.Collection[str]) -> list[str]:
    """VMs that their operator lets stop end before these hosts do; a line for each."""
    lines = []
    for one in stopped:
        if one["host"] in hosts:
            name = one["name"] or one["workload"]
            client("stop_workload", host=one["host"], name=name)
            lines.append(f"{name} is stopped on {one['host']}; to start it again is its operator's")
    return lines


def restart(client: FleetClient, hosts: t.Iterable[str]) -> list[str]:
    """Hosts come up anew; what was not persistent on them is gone."""
    for host in hosts:
        client("reboot", host=host)
    return [f"{host} was restarted" for host in hosts]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=["migrate", "restart"])
    parser.add_argument("fleet", type=pathlib.Path)
    parser.add_argument("words", nargs="+")
    given = parser.parse_args()
    try:
        client = FleetClient(given.fleet / "control.sock")
        if given.what == "restart":
            lines = restart(client, given.words)
        else:
            lines = migrate(client, _plan.load(given.words[0])["moves"], set(map(int, given.words[1:])))
    except (ContractError, FleetError, OSError, ValueError) as error:
        print(f"{given.what}: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
