# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How each command of the documentation is run here, and what its text takes for granted.

A command is run as it is written if its program is known below. A placeholder (a server, an engine for containers, what
a person does) has its real equivalent in a table; a command that is in none fails the test.

Some are not run a second time here. ``./dev test`` and its parts, ``lint`` and ``sanity`` are what runs this test: it
is only seen that there are such gates. Guests with a real kernel take minutes to start: the words of ``./dev kernel``
are only parsed, and tests/integration/kernel does what they do. Of the benchmarks that start fleets only the help is
shown. What needs a libvirt, or sudo behind SSH, is run by a test that has these.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import typing as t
from pathlib import Path

from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _plan
from ansible_collections.vfio.migration.tests.fleet.kernel import __main__ as kernel
from ansible_collections.vfio.migration.tests.tools import ansible_test, gates, maintenance, release, schema, setup

from . import snippets

if t.TYPE_CHECKING:
    from .conftest import Desk

GUIDES = "docs/docsite/rst/guide_"

Act = t.Callable[["Desk"], None]

PROGRAMS = frozenset({"ansible-doc", "ansible-playbook", "ansible-runner", "check-jsonschema", "jq", "python"})

PLACEHOLDERS = {
    "docs/schemas": f"{setup.ROOT}/docs/schemas",
    ".cache/kernel/fleet/": "",
    "/root/migration": "$PWD/migration",
    "PYTHONPATH=.cache/tree": f"PYTHONPATH={setup.TREE}",
    "/tmp/vfio-fleet-x1y2z3": "./other",
}
"""Words of a command that stand for something of the reader's."""

TOOLS = "python -m ansible_collections.vfio.migration.tests"


def tarball_of_this_checkout(desk: Desk) -> None:
    """Instead of Galaxy's."""
    copy = ansible_test.copy_of_checkout(desk.folder / "copy" / "ansible_collections" / "vfio" / "migration")
    tarball = release.build(lambda words, cwd: desk.shell(" ".join(words), cwd), copy, desk.folder / "built")
    # Where it is not to be found already.
    where = desk.folder / "installed"
    elsewhere = f"env -u PYTHONPATH ANSIBLE_COLLECTIONS_PATH={where}"
    desk.shell(f"{elsewhere} ansible-galaxy collection install --offline --no-deps {tarball}")
    assert (where / "ansible_collections" / "vfio" / "migration" / "MANIFEST.json").is_file()


def build_context(desk: Desk) -> None:
    """All that ansible-builder does before it calls an engine for containers."""
    shutil.copy(setup.ROOT / "docs" / "examples" / "execution-environment.yml", desk.folder)
    desk.shell("ansible-builder create")
    assert "vfio.migration" in (desk.folder / "context" / "_build" / "requirements.yml").read_text()


def migrate(*waves: int) -> Act:
    """What the operator's own tool does."""

    def act(desk: Desk) -> None:
        moves = _plan.load(str(desk.folder / "plan.json"))["moves"]
        done = maintenance.migrate(desk.fleet.client, moves, set(waves or (move["wave"] for move in moves)))
        assert done

    return act


def maintain(desk: Desk) -> None:
    planning = _plan.load(str(desk.folder / "plan.json"))["planning"]
    assert planning is not None
    batch = next(batch for batch in planning["batches"] if 1 in batch["waves"])
    maintenance.restart(desk.fleet.client, batch["emptied"])


def a_gate(suite: str) -> Act:
    """The gates run this test; that they would run, with at least one step, is what can be said here."""

    def act(desk: Desk) -> None:  # noqa: ARG001
        assert gates.SUITES[suite]

    return act


def elsewhere(desk: Desk, test: str, words: str) -> None:  # noqa: ARG001
    """That test has what the command needs, and names the command."""
    file, name = test.split("::")
    text = (setup.ROOT / "tests" / "integration" / file).read_text()
    body = text.partition(f"\ndef {name}(")[2].partition("\n\n\n")[0]
    assert words in body, f"{test} does not run {words}"


def changelog(desk: Desk) -> None:
    """For a version that was not released yet, in a copy."""
    copy = ansible_test.copy_of_checkout(desk.folder / "copy" / "ansible_collections" / "vfio" / "migration")
    galaxy = copy / "galaxy.yml"
    galaxy.write_text(re.sub(r"^version: .*$", "version: 99.0.0", galaxy.read_text(), flags=re.MULTILINE))
    desk.shell("antsibull-changelog release", cwd=copy)
    assert "v99.0.0\n=======\n" in (copy / "CHANGELOG.rst").read_text()
    assert list((copy / "changelogs" / "fragments").glob("*.yml")) == []


SSH = "ssh hv1 cat /sys/kernel/debug/mdev_lab/counters"


def of_the_guests(desk: Desk, words: str) -> None:  # noqa: ARG001
    """Guests with a real kernel take minutes and have tests of their own; here their command line takes the words."""
    assert callable(kernel._parser().parse_args(words.split()).run)


def schemas(desk: Desk) -> None:  # noqa: ARG001
    """All but writing them into this checkout."""
    for contract in schema.CONTRACTS.values():
        assert schema.path(contract).read_text(encoding="ascii") == schema.rendered(contract)


DOMAIN_XML = "simulated/test_domain_xml.py::test_libvirt_starts_the_vm_from_its_file"
LEAST = "simulated/test_least_privilege.py::test_a_slip_is_refused"

INSTEAD: dict[str, str | Act] = {
    "ansible-galaxy collection install vfio.migration": tarball_of_this_checkout,
    "ansible-builder build --tag vfio-migration": build_context,
    "# migrate the VMs with your own tool": migrate(),
    "# migrate the VMs of wave 1 with your own tool": migrate(1),
    "# maintain the hosts that are empty, then go on with the next wave": maintain,
    "antsibull-changelog release": changelog,
    "virsh migrate --xml": functools.partial(elsewhere, test=DOMAIN_XML, words="virsh migrate --xml"),
    "ansible -m copy -b": functools.partial(elsewhere, test=LEAST, words="ansible -m copy -b"),
    "./dev demo": f"{TOOLS}.tools.demo",
    "./dev build": f"{TOOLS}.tools.release",
    "./dev docs": f"{TOOLS}.tools.site",
    "./dev faults": f"{TOOLS}.tools.faults",
    "./dev schema": schemas,
    "./dev kernel build": functools.partial(of_the_guests, words="build"),
    "./dev kernel up": functools.partial(of_the_guests, words="up"),
    "./dev kernel up 2": functools.partial(of_the_guests, words="up 2"),
    f"./dev kernel {SSH}": functools.partial(of_the_guests, words=SSH),
    "./dev kernel down": functools.partial(of_the_guests, words="down"),
    "./dev test": a_gate("all"),
    "./dev test PART": a_gate("molecule"),
    "./dev test release": a_gate("release"),
    "./dev test quick": a_gate("quick"),
    "./dev test explore": a_gate("explore"),
    "./dev lint": a_gate("lint"),
    "./dev sanity": a_gate("sanity"),
    "./dev bench planner": f"{TOOLS}.benchmarks.planner --sizes 100 --ways library",
    "./dev bench pairing": f"{TOOLS}.benchmarks.pairing 200",
    # Many minutes otherwise; what they measure has tests of its own.
    "./dev bench readiness": f"{TOOLS}.benchmarks.readiness --help",
    "./dev bench targets": f"{TOOLS}.benchmarks.targets --help",
    # Ends with the test, whatever comes; the folder is the one that the text goes on with.
    "$simulated up --scenario small": "$simulated up --scenario small --directory ./other --lifetime 120",
}
"""Command -> what is run for it."""


REFUSALS: dict[str, str] = {"report_fail_on": "blocked"}
"""Words of a command that is shown because it fails -> what it says then."""

LONG = f"{TOOLS}.tools."
"""What begins so is run once, however many documents name it."""


def plan_of_the_guide(desk: Desk) -> None:
    """The plan that the guide shows, as if it were made today."""
    text = (setup.ROOT / "docs" / "docsite" / "rst" / "guide_targets.rst").read_text(encoding="utf-8")
    (block,) = (one for one in snippets.blocks(text) if one.language == "json")
    plan = json.loads(block.text) | {"created": _clock.now()}
    (desk.folder / "plan.json").write_text(json.dumps(plan))


def fleet_as_before(desk: Desk) -> None:
    desk.renew()
    plan_of_the_guide(desk)


def readiness_of_last_night(desk: Desk) -> None:
    shown(f"{GUIDES}matrix.rst", "- name: Look at last night", "last_night.yml")(desk)
    desk.shell("ansible-playbook -i inventory.yml vfio.migration.readiness -e report_dest=readiness.json")
    plan_of_the_guide(desk)


def shown(document: str, first: str, file: str) -> Act:
    """Write the block of a document that begins so to a file."""

    def act(desk: Desk) -> None:
        text = (setup.ROOT / document).read_text(encoding="utf-8")
        (block,) = (one for one in snippets.blocks(text) if one.text.startswith(first))
        (desk.folder / file).write_text(block.text)

    return act


def private_data(desk: Desk) -> None:
    """The folder of ansible-runner, as the guide lists it."""
    text = (setup.ROOT / "docs/docsite/rst/guide_awx.rst").read_text(encoding="utf-8")
    (block,) = (one for one in snippets.blocks(text) if one.text.startswith("fleet/"))
    for line in block.text.splitlines()[1:]:
        path, _gap, content = line.strip().partition(" ")
        target = desk.folder / "fleet" / path
        (target if path.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
        if content:
            target.write_text(content.strip().replace("/var/lib/fleet", str(desk.folder)))
    shutil.copy(desk.folder / "inventory.yml", desk.folder / "fleet" / "inventory" / "hosts.yml")


BEFORE: dict[tuple[str, str], Act] = {
    (f"{GUIDES}targets.rst", "--check --diff"): plan_of_the_guide,
    (f"{GUIDES}targets.rst", "targets_domain_xml"): fleet_as_before,
    (f"{GUIDES}matrix.rst", "last_night.yml"): readiness_of_last_night,
    (f"{GUIDES}policy.rst", "own_policy.yml"): shown(f"{GUIDES}policy.rst", "- name: Plan with what", "own_policy.yml"),
    (f"{GUIDES}awx.rst", "ansible-runner run"): private_data,
}
"""Document, and words of one of its commands -> what the text before that command takes for granted."""


def write(folder: Path, command: snippets.Command) -> None:
    """A file that a command shows is there before, but for the inventory, which is that of the fleet."""
    file = command.text.removeprefix("cat ").strip()
    if file != "inventory.yml":
        (folder / file).write_text(command.output)
