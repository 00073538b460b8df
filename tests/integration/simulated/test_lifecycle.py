# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet starts with one clear sentence or at all, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated import __main__ as cli
from ansible_collections.vfio.migration.tests.fleet.simulated import inplace
from ansible_collections.vfio.migration.tests.fleet.simulated.control import FleetClient
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet, start, stop
from ansible_collections.vfio.migration.tests.integration.simulated.conftest import one_host, read, type_dir

pytestmark = pytest.mark.thorough

PACKAGE = cli.__name__.rpartition(".")[0]
OWNER = f"""
import sys, time
from {PACKAGE}.fleet import simulated_fleet
with simulated_fleet("small", reach=sys.argv[1]) as fleet:
    print(fleet.directory, flush=True)
    if sys.argv[2] == "hang":
        node = "class/mdev_bus/0000:d8:00.0/mdev_supported_types/hungdrv-a/migration_version"
        (fleet.host("hv5").sysfs_root / node).read_bytes()
    time.sleep(600)
"""


def left_over(directory: pathlib.Path) -> list[str]:
    """Directory, mounts and processes that name it."""
    found = [str(directory)] if directory.exists() else []
    found += [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]
    for item in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(directory) in item.read_bytes() and item.parent.name != str(os.getpid()):
                found.append(item.parent.name)
        except OSError:
            continue
    return found


def gone(directory: pathlib.Path, seconds: float = 20.0) -> bool:
    """Whether nothing is left within some seconds."""
    end = time.monotonic() + seconds
    while left_over(directory):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def hang(fleet: Fleet) -> subprocess.Popen[bytes]:
    """A reader that nobody can kill."""
    path = type_dir(fleet, "hungdrv-a", parent="0000:d8:00.0", host="hv5") / "migration_version"
    child = subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until_stuck(fleet.client)
    return child


def wait_until_stuck(client: FleetClient) -> None:
    """Until somebody hangs on hv5."""
    while not client("status")["hv5"]["stuck"]:
        time.sleep(0.01)


def test_the_end_of_the_block_leaves_nothing_not_even_a_hung_reader() -> None:
    with simulated_fleet("small") as fleet:
        child = hang(fleet)
        assert left_over(fleet.directory)
    assert left_over(fleet.directory) == []
    assert child.wait(5) != 0


OWNERS = [("in_place", "idle"), ("in_place", "hang"), pytest.param("namespace", "idle", marks=pytest.mark.over_ssh)]


@pytest.mark.parametrize(("reach", "state"), OWNERS)
def test_kill_9_of_the_owner_leaves_nothing(reach: str, state: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", OWNER, reach, state]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as owner:
        line = owner.stdout.readline() if owner.stdout is not None else b""
        directory = pathlib.Path(line.decode().strip())
        assert (directory / "mnt/hv1/sys").exists()
        if state == "hang":
            wait_until_stuck(FleetClient(directory / "control.sock"))
        owner.kill()
    assert gone(directory)


def test_a_lifetime_ends_a_fleet_without_an_owner() -> None:
    fleet = start("small", lifetime=1.0)
    fleet.client.close()
    assert gone(fleet.directory)


@pytest.mark.parametrize("victim", ["server", "guard"])
def test_a_killed_daemon_leaves_nothing_after_down(victim: str) -> None:
    fleet = start("small", lifetime=60.0)
    fleet.client.close()
    guard = int((fleet.directory / "guard.pid").read_text())
    server = int(pathlib.Path(f"/proc/{guard}/task/{guard}/children").read_text().split()[0])
    os.kill(server if victim == "server" else guard, signal.SIGKILL)
    if victim == "server":
        assert gone(fleet.directory)
    stop(fleet.directory)
    assert gone(fleet.directory)


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "small"]) == 0
    assert "small: 6 hosts, no error" in capsys.readouterr().out
    assert cli.main(["up", "--scenario", "small", "--lifetime", "60"]) == 0
    directory = capsys.readouterr().out.strip()
    node = "parents/0000:3b:00.0/types/nvidia-35/migration_version"
    for words, expected in (
        (["status", directory], '"hv6"'),
        (["fault", "set", directory, "hv1", f'{{"node": "{node}", "fault": "R10"}}'], "1"),
        (["counters", directory, "--host", "hv1"], "{"),
        (["fault", "clear", directory, "--host", "hv1"], "1"),
        (["do", directory, "unregister", '{"host": "hv1", "parent": "0000:3b:00.0"}'], "null"),
    ):
        assert cli.main(words) == 0
        assert expected in capsys.readouterr().out
    assert cli.main(["down", directory]) == 0
    assert left_over(pathlib.Path(directory)) == []
    assert cli.main(["status", directory]) == 1
    assert "no fleet answers" in capsys.readouterr().err


def test_a_bad_scenario_starts_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FleetError, match="did you mean parents"):
        start({"hosts": {"a": {"parent": {}}}}, directory=tmp_path / "fleet")
    assert left_over(tmp_path / "fleet") == []


def test_an_occupied_directory_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FleetError, match="is there already"):
        start("small", directory=tmp_path)


@pytest.mark.parametrize("name", ["device", "permission"])
def test_what_is_missing_is_said_in_a_sentence(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "fuse"
    if name == "permission":
        device.touch()
        monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    monkeypatch.setattr(inplace, "FUSE_DEVICE", device)
    with pytest.raises(FleetError, match="/dev/fuse"):
        start(one_host())


def test_an_ordinary_user_can_run_hosts_in_place() -> None:
    """As root: in a user namespace where nobody is root outside. Else this very user."""
    script = (
        f"from {PACKAGE}.fleet import simulated_fleet\n"
        "with simulated_fleet('small') as fleet:\n"
        "    node = fleet.host('hv1').sysfs_root / 'class/mdev_bus/0000:3b:00.0/mdev_supported_types/nvidia-35'\n"
        "    print((node / 'migration_version').read_text(), (node / 'create').stat().st_uid)\n"
        "    (node / 'create').write_text('77777777-0000-4000-8000-000000000001')\n"
        "    print((node / 'available_instances').read_text())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    prefix = ["unshare", "--user", "--map-root-user", "--mount"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["10de-20b5-35-550.4", str(os.geteuid()), "3"]


BIG: dict[str, dict[str, t.Any]] = {
    "1,000 hosts": {"hosts": 1000, "parents": 2, "types": 4, "vms": 2},
    "256 VFs of 8 types": {"hosts": 1, "parents": 256, "types": 8, "vms": 16},
}


@pytest.mark.parametrize("numbers", BIG.values(), ids=BIG)
def test_large_fleets_start_in_seconds(numbers: dict[str, t.Any]) -> None:
    began = time.monotonic()
    with simulated_fleet({"generate": numbers}) as fleet:
        assert time.monotonic() - began < 30
        last = f"hv{numbers['hosts']:04d}"
        assert len(os.listdir(fleet.host(last).sysfs_root / "class/mdev_bus")) == numbers["parents"]
        parent = max(os.listdir(fleet.host(last).sysfs_root / "class/mdev_bus"))
        kinds = os.listdir(fleet.host(last).sysfs_root / "class/mdev_bus" / parent / "mdev_supported_types")
        assert len(kinds) == numbers["types"]
        assert read(type_dir(fleet, kinds[0], parent=parent, host=last) / "migration_version").endswith(b"\n")
        assert len(os.listdir(fleet.mount)) == numbers["hosts"]
