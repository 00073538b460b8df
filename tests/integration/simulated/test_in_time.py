# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes time on a host and what happens meanwhile: half-made devices, removes that wait, holders that move."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet
from ansible_collections.vfio.migration.tests.integration.simulated.conftest import (
    CARD,
    HOST,
    card,
    device_dir,
    one_host,
    read,
    type_dir,
    write,
)

UUID = "aaaaaaaa-0000-4000-8000-000000000001"
FRESH = "bbbbbbbb-0000-4000-8000-000000000001"
SCENARIO = one_host(parents={CARD: card(delays={"create": 0.4, "bind": 0.4, "remove": 0.4})})


@pytest.fixture
def fleet() -> t.Iterator[Fleet]:
    with simulated_fleet(SCENARIO) as running:
        yield running


def put(path: pathlib.Path, data: str) -> str:
    """``done``, or the name of the errno."""
    try:
        write(path, data.encode())
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


class Background:
    """A write that takes its time."""

    def __init__(self, path: pathlib.Path, data: str) -> None:
        self.answer = ""
        self.thread = threading.Thread(target=self._write, args=(path, data), daemon=True)
        self.began = time.monotonic()
        self.thread.start()

    def _write(self, path: pathlib.Path, data: str) -> None:
        self.answer = put(path, data)

    def end(self) -> tuple[str, float]:
        """Answer and seconds."""
        self.thread.join(10)
        return self.answer, time.monotonic() - self.began


def soon(path: pathlib.Path) -> None:
    """Wait until a path is there."""
    end = time.monotonic() + 5
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert path.exists()


def quick(fleet: Fleet) -> None:
    """Nothing takes time any more."""
    fleet.client("set_delays", host=HOST, parent=CARD, create=0, bind=0, remove=0)


@pytest.mark.fault("R18")
def test_a_device_takes_room_first_then_appears_then_has_its_files(fleet: Fleet) -> None:
    device, kind = device_dir(fleet, FRESH), type_dir(fleet)
    create = Background(kind / "create", FRESH)
    time.sleep(0.15)
    assert (read(kind / "available_instances"), device.exists()) == (b"3\n", False)
    assert put(type_dir(fleet, "lab-A2") / "create", FRESH) == "EEXIST"
    soon(device)
    assert sorted(os.listdir(device)) == ["driver", "power", "remove", "subsystem", "uevent"]
    assert os.listdir(kind / "devices") == []
    assert put(device / "remove", "1") == "EAGAIN"
    assert put(device / "remove", "1") == "ENOENT"
    answer, seconds = create.end()
    assert answer == "done"
    assert 0.7 < seconds < 3
    assert {"driver", "iommu_group", "mdev_type", "migration_version", "vfio-dev"} <= set(os.listdir(device))
    assert read(device / "uevent") == b"DRIVER=lab\n"


def test_a_remove_takes_the_drivers_time(fleet: Fleet) -> None:
    quick(fleet)
    write(type_dir(fleet) / "create", FRESH.encode())
    fleet.client("set_delays", host=HOST, parent=CARD, remove=0.4)
    answer, seconds = Background(device_dir(fleet, FRESH) / "remove", "1").end()
    assert answer == "done"
    assert 0.35 < seconds < 3


@pytest.mark.parametrize("after", [0.1, 0.6])
def test_a_parent_that_goes_ends_a_create_that_is_not_done(fleet: Fleet, after: float) -> None:
    """Both while it cannot be seen yet and while its driver works on it."""
    create = Background(type_dir(fleet) / "create", FRESH)
    time.sleep(after)
    fleet.client("unregister", host=HOST, parent=CARD)
    assert create.end()[0] == "ENODEV"
    assert not type_dir(fleet).exists()
    assert not device_dir(fleet, FRESH).exists()
    fleet.client("plug", host=HOST, parent=CARD)
    assert read(type_dir(fleet) / "available_instances") == b"4\n"


def state(pid: int) -> str:
    """State letter of a process."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_remove_of_a_device_in_use_sleeps_and_after_a_signal_cannot_be_killed(fleet: Fleet) -> None:
    """vfio_unregister_group_dev() waits interruptibly, then not at all interruptibly, until the holder lets go."""
    quick(fleet)
    write(type_dir(fleet) / "create", FRESH.encode())
    fleet.client("start_workload", host=HOST, workload={"name": "vm", "devices": [FRESH]})
    remove = device_dir(fleet, FRESH) / "remove"
    with subprocess.Popen(["sh", "-c", f"exec printf 1 > {remove}"]) as writer:
        time.sleep(0.3)
        assert state(writer.pid) in "SD"
        writer.kill()
        time.sleep(0.3)
        assert state(writer.pid) == "D"
        assert writer.poll() is None
        fleet.client("stop_workload", host=HOST, name="vm")
        assert writer.wait(5) == -9
    assert not device_dir(fleet, FRESH).exists()


def test_a_holder_moves_from_one_device_to_another(fleet: Fleet) -> None:
    quick(fleet)
    for uuid in (UUID, FRESH):
        write(type_dir(fleet) / "create", uuid.encode())
    first = fleet.client("start_workload", host=HOST, workload={"name": "vm", "devices": [UUID]})
    proc = fleet.host(HOST).proc_root
    assert UUID.encode() in read(proc / str(first) / "cmdline")
    waiting = Background(device_dir(fleet, UUID) / "remove", "1")
    second = fleet.client("start_workload", host=HOST, workload={"name": "vm", "devices": [FRESH], "pid": 77})
    assert waiting.end()[0] == "done"
    assert second == 77
    assert FRESH.encode() in read(proc / "77/cmdline")
    assert not (proc / str(first)).exists()


REFUSED: list[tuple[str, dict[str, t.Any], str]] = [
    ("start_workload", {"workload": {"name": "vm", "devices": ["nothing"]}}, "has no device nothing"),
    ("start_workload", {"workload": {"devices": []}}, "name: is missing"),
    ("stop_workload", {"name": "vm"}, "has no workload 'vm'"),
    ("set_delays", {"parent": CARD, "bind": -1}, "must be a number of seconds"),
    ("set_delays", {"parent": CARD, "bnd": 1}, "did you mean bind"),
    ("unregister", {"parent": "x"}, "has no parent x"),
]


@pytest.mark.parametrize(("command", "arguments", "message"), REFUSED)
def test_a_command_that_makes_no_sense_is_refused(
    fleet: Fleet, command: str, arguments: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(FleetError, match=message):
        fleet.client(command, host=HOST, **arguments)


def test_nobody_becomes_root_on_hosts_in_place(fleet: Fleet, tmp_path: pathlib.Path) -> None:
    """Not even where a playbook asks for it: an ordinary user has no sudo."""
    task = {"ansible.builtin.command": "true", "become": True}
    play = {"hosts": "all", "gather_facts": False, "vars": {"ansible_become_exe": "/nonexistent"}, "tasks": [task]}
    (tmp_path / "play.json").write_text(json.dumps([play]))
    words = [sys.executable, "-m", "ansible", "playbook", "-i", str(fleet.inventory), str(tmp_path / "play.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
