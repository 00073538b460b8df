# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the simulated fleet; README.md shows a session."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import typing as t

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError

from ._reader import ScenarioError
from .control import FleetClient
from .daemon import guard
from .fleet import LIFETIME, start, stop
from .scenario import load


def main(words: list[str] | None = None) -> int:
    """Run one command; errors are one sentence and status 1."""
    arguments = _parser().parse_args(words)
    try:
        return int(arguments.run(arguments) or 0)
    except (FleetError, ScenarioError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulated", description="A simulated fleet of VFIO hypervisors")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, what in (("up", _up, "start a fleet"), ("serve", _serve, "run a fleet (used by up)")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--scenario", default="small", help="a file, or the name of a shipped scenario")
        command.add_argument("--directory", type=pathlib.Path, help="where the fleet lives (default: a new one)")
        command.add_argument("--reach", choices=("in_place", "namespace"), default="in_place")
        command.add_argument("--owner-pid", type=int, help="end with this process")
        command.add_argument("--lifetime", type=float, default=LIFETIME, help="end after so many seconds")
        command.set_defaults(run=run)
    _add(commands, "down", _down, "end a fleet; nothing of it is left")
    _add(commands, "status", _ask, "what each host has now", do="status")
    command = _add(commands, "counters", _ask, "what each node was asked", do="counters")
    command.add_argument("--host", default=None)
    _fault_commands(commands)
    command = _add(commands, "do", _do, "give any command of the control channel")
    command.add_argument("command", help="README.md lists them")
    command.add_argument("arguments", type=json.loads, nargs="?", default={}, help='JSON: {"host": "hv1", ...}')
    command = commands.add_parser("check", help="validate a scenario file")
    command.add_argument("scenario")
    command.set_defaults(run=_check)
    return parser


def _add(
    commands: t.Any, name: str, run: t.Callable[..., t.Any], what: str, **defaults: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=what)
    command.add_argument("directory", type=pathlib.Path)
    command.set_defaults(run=run, **defaults)
    return command


def _fault_commands(commands: t.Any) -> None:
    fault = commands.add_parser("fault", help="set or clear faults").add_subparsers(required=True, metavar="WHAT")
    command = _add(fault, "set", _ask, "set one", do="fault_set")
    command.add_argument("host")
    command.add_argument("fault", type=json.loads, help='JSON as in a scenario: {"node": "...", "fault": "R8"}')
    command = _add(fault, "clear", _ask, "clear them, letting go whoever hangs", do="fault_clear")
    command.add_argument("--host")
    command.add_argument("--node")


def _up(arguments: argparse.Namespace) -> None:
    fleet = start(
        arguments.scenario,
        reach=arguments.reach,
        owner=arguments.owner_pid,
        lifetime=arguments.lifetime,
        directory=arguments.directory,
    )
    sys.stdout.write(f"{fleet.directory}\n")
    sys.stderr.write(f"The fleet is up: ansible-playbook -i {fleet.inventory}; end it with: down {fleet.directory}\n")


def _serve(arguments: argparse.Namespace) -> int:
    return guard(arguments.directory, arguments.scenario, arguments.reach, arguments.owner_pid, arguments.lifetime)


def _down(arguments: argparse.Namespace) -> None:
    stop(arguments.directory.resolve())


def _ask(arguments: argparse.Namespace) -> None:
    client = FleetClient(arguments.directory / "control.sock")
    names = ("host", "node", "fault")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}
    sys.stdout.write(json.dumps(client(arguments.do, **given), indent=2) + "\n")


def _do(arguments: argparse.Namespace) -> None:
    client = FleetClient(arguments.directory / "control.sock")
    sys.stdout.write(json.dumps(client(arguments.command, **arguments.arguments), indent=2) + "\n")


def _check(arguments: argparse.Namespace) -> None:
    scenario = load(arguments.scenario)
    sys.stdout.write(f"{scenario.name}: {len(scenario.hosts)} hosts, no error\n")


if __name__ == "__main__":
    sys.exit(main())
