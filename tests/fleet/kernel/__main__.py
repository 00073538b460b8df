# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev kernel build | up [N] | ssh HOST [COMMAND] | down``."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time

from ansible_collections.vfio.migration.tests.fleet import guarded
from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError

from . import fleet, image
from .guard import guard
from .machine import Guest

HERE = image.CACHE / "fleet"


def main(words: list[str] | None = None) -> int:
    """Run one command; errors are one sentence and status 1."""
    arguments = _parser().parse_args(words)
    try:
        return int(arguments.run(arguments) or 0)
    except FleetError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev kernel", description="Guests with a real kernel")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("build", help="build the guests of both kernels, where they are not there yet")
    command.set_defaults(run=_build)
    command = commands.add_parser("up", help="start guests")
    command.add_argument("count", type=int, nargs="?", default=2, help="how many, of both kernels in turn (default: 2)")
    command.add_argument("--guest", action="append", default=[], help="one of them instead: KERNEL[:OPTION=VALUE,...]")
    command.set_defaults(run=_up)
    serve = commands.add_parser("serve", help="be a fleet (used by up)")
    serve.add_argument("--guests", type=lambda text: [Guest(*one) for one in json.loads(text)], required=True)
    serve.set_defaults(run=_serve)
    for command in (commands.choices["up"], serve):
        command.add_argument("--directory", type=pathlib.Path, default=HERE, help="where the fleet lives")
        command.add_argument("--warm", action="store_true", help="go on from a saved state instead of booting")
        command.add_argument("--owner-pid", type=int, help="end with this process")
        command.add_argument("--lifetime", type=float, default=fleet.LIFETIME, help="end after so many seconds")
    command = commands.add_parser("ssh", help="a shell on a guest, or one command")
    command.add_argument("--directory", type=pathlib.Path, default=HERE)
    command.add_argument("host")
    command.add_argument("words", nargs=argparse.REMAINDER)
    command.set_defaults(run=_ssh)
    command = commands.add_parser("down", help="end the guests; nothing of them is left")
    command.add_argument("--directory", type=pathlib.Path, default=HERE)
    command.set_defaults(run=_down)
    return parser


def _build(_arguments: argparse.Namespace) -> None:
    start = time.monotonic()
    for kernel, built in image.build(image.SUITES).items():
        sys.stdout.write(f"kernel {kernel}: {built.folder}\n")
    sys.stderr.write(f"Took {time.monotonic() - start:.0f} s.\n")


def _up(arguments: argparse.Namespace) -> None:
    guests = [fleet.parse_guest(number, text) for number, text in enumerate(arguments.guest, 1)]
    running = fleet.start(
        guests or fleet.alternating(arguments.count),
        warm=arguments.warm,
        owner=arguments.owner_pid,
        lifetime=arguments.lifetime,
        directory=arguments.directory,
    )
    sys.stdout.write(f"{running.directory}\n")
    sys.stderr.write(f"The guests are up: ansible-playbook -i {running.inventory}; end them with: ./dev kernel down\n")


def _serve(arguments: argparse.Namespace) -> int:
    return guard(arguments.directory, arguments.guests, arguments.warm, arguments.owner_pid, arguments.lifetime)


def _ssh(arguments: argparse.Namespace) -> None:
    running = fleet.KernelFleet(arguments.directory.resolve())
    if not running.inventory.exists():
        raise FleetError(f"No guests run in {arguments.directory}: start them with ./dev kernel up.")
    words = running.ssh(arguments.host)
    os.execvp(words[0], [*words, *arguments.words])


def _down(arguments: argparse.Namespace) -> None:
    guarded.stop(arguments.directory.resolve())


if __name__ == "__main__":
    sys.exit(main())
