# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sudoers file that is shipped, as it is, for an ordinary user of hosts over SSH: what works, and what does not."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
import yaml

from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet
from ansible_collections.vfio.migration.tests.tools import setup

pytestmark = [pytest.mark.thorough, pytest.mark.over_ssh]

EXAMPLE = setup.ROOT / "docs" / "examples" / "sudoers"
HOSTS = ("hv1", "hv2", "hv3", "hv4", "hv5", "hv6")
# The variables that SECURITY.md asks for.
VARIABLES = yaml.safe_load((setup.ROOT / "SECURITY.md").read_text().split("```yaml\n")[1].split("```")[0])
USER = VARIABLES["ansible_user"]
# /etc of a host is its own and ends with it, and so does a /home that is mounted inside. sshd refuses keys for an
# account whose password begins with "!".
ACCOUNT = f"""set -e
mount -t tmpfs -o mode=0755 tmpfs /home
echo '{USER}:x:64999:64999::/home/{USER}:/bin/sh' >> /etc/passwd
echo '{USER}:x:64999:' >> /etc/group
echo '{USER}:*:1::::::' >> /etc/shadow
mkdir -p /home/{USER}/.ssh
cat > /home/{USER}/.ssh/authorized_keys
chown -R 64999:64999 /home/{USER}
"""
INSTALL = "set -e; cat > /tmp/sudoers; visudo -c -f /tmp/sudoers; install -m 0440 /tmp/sudoers /etc/sudoers.d/vfio"


class Account:
    """A fleet whose hosts have an ordinary user."""

    def __init__(self, fleet: Fleet, folder: pathlib.Path) -> None:
        self.fleet = fleet
        self.folder = folder
        key = (fleet.directory / "ssh" / "user_key.pub").read_text()
        for host in HOSTS:
            self.inside(host, ACCOUNT, f"restrict,pty {key}")

    def inside(self, host: str, script: str, text: str = "") -> str:
        """As root of a host, in a script that reads ``text``."""
        done = self.fleet.run(host, "sh", "-c", f"{{ {script}\n}} <<'END'\n{text}\nEND")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def sudoers(self, text: str) -> None:
        for host in HOSTS:
            self.inside(host, f"mount -t tmpfs tmpfs /tmp; {INSTALL}; umount /tmp", text)

    def as_user(self, host: str, command: str) -> subprocess.CompletedProcess[str]:
        words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "env", f"HOME=/home/{USER}"]
        return self.fleet.run(host, *words, "sh", "-c", command)

    def play(self, name: str, user: str = USER, code: int = 0, **options: t.Any) -> str:
        """Run a playbook as that user; its output."""
        own = {"ansible_python_interpreter": "/usr/bin/python3"} if user == "root" else VARIABLES
        env = {"COLLECTIONS_PATH": str(setup.TREE), "NOCOLOR": "1", "LOCALHOST_WARNING": "0", "HOME": str(self.folder)}
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", f"vfio.migration.{name}", "-i", str(self.fleet.inventory),
             "-e", json.dumps({**own, **options})],
            env={**os.environ, **{f"ANSIBLE_{key}": value for key, value in env.items()}}, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == code, (done.stdout + done.stderr)[-5000:]
        return " ".join((done.stdout + done.stderr).split())

    def states(self, **options: t.Any) -> list[tuple[str, str, str, str | None]]:
        """What readiness says of each device."""
        dest = self.folder / "report.json"
        self.play("readiness", report_dest=str(dest), report_show=False, **options)
        devices = json.loads(dest.read_text())["devices"]
        return [(one["host"], one["device"], one["state"], one["reason"]) for one in devices]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Account]:
    with simulated_fleet("small", reach="namespace") as fleet:
        yield Account(fleet, tmp_path_factory.mktemp("account"))


@pytest.fixture
def limited(account: Account) -> Account:
    account.sudoers(EXAMPLE.read_text())
    return account


def test_example_is_what_visudo_takes() -> None:
    done = subprocess.run(["visudo", "-c", "-f", str(EXAMPLE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_readiness_finds_what_it_finds_as_root(limited: Account) -> None:
    assert limited.states() == limited.states(user="root")


def test_targets_are_prepared_and_released(limited: Account) -> None:
    plan = json.loads((setup.ROOT / "tests" / "plans" / "small.json").read_text())
    plan["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert "1 dropped, 1 ready" in limited.play("prepare_targets", targets_plan=plan, targets_fail=False)
    limited.play("release_targets", release_plan=plan)


def test_hosts_that_are_only_asked_need_half_of_it(account: Account) -> None:
    account.sudoers(EXAMPLE.read_text().replace("VFIO_ASK, VFIO_CHANGE", "VFIO_ASK"))
    assert "ready" in {state for _host, _device, state, _reason in account.states()}
    plan = str(setup.ROOT / "tests" / "plans" / "small.json")
    said = account.play("prepare_targets", targets_plan=plan, targets_revalidate=True, code=2)
    assert "Missing sudo password" in said


def test_a_slip_is_refused(limited: Account) -> None:
    """The command is that of SECURITY.md: ansible -m copy -b."""
    ansible = ["ansible", "hv1", "-i", str(limited.fleet.inventory), "-e", json.dumps(VARIABLES), "-m", "copy"]

    def copy(dest: str, *words: str) -> tuple[int, bool]:
        done = subprocess.run(
            [*ansible, "-a", f"content=fine dest={dest}", *words], cwd=limited.folder, text=True, timeout=120,
            env={**os.environ, "HOME": str(limited.folder)}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode, "Missing sudo password" in done.stdout + done.stderr

    assert copy("/etc/slip", "-b") == (2, True)
    assert limited.inside("hv1", "test -e /etc/slip || echo nothing") == "nothing\n"
    # The account may write what is its own: it is sudo that refuses.
    assert copy(f"/home/{USER}/slip") == (0, False)
    assert limited.inside("hv1", f"cat /home/{USER}/slip") == "fine"


FILE = f"/usr/bin/python3 /home/{USER}/.ansible/tmp/ansible-tmp-1/AnsiballZ_mdev.py"
REFUSED = [
    "id",
    "sh -c id",
    "python3",
    "sh -c 'echo BECOME-SUCCESS-abc ; /usr/bin/python3'",
    "sh -c 'echo BECOME-SUCCESS-abc ; /usr/bin/python3 /tmp/AnsiballZ_mdev.py'",
    f"sh -c 'echo BECOME-SUCCESS-abc ; {FILE.replace('mdev', 'copy')}'",
    f"sh -c 'echo BECOME-SUCCESS-abc ; id ; {FILE}'",
    f"sh -c 'echo BECOME-SUCCESS-abc ; {FILE} ; id'",
    f"-u nobody sh -c 'echo BECOME-SUCCESS-abc ; {FILE}'",
]


@pytest.mark.parametrize("command", REFUSED)
def test_nothing_else_is_run_for_it(limited: Account, command: str) -> None:
    done = limited.as_user("hv1", f"sudo -n {command}")
    assert done.returncode == 1
    assert "a password is required" in done.stderr


def test_it_limits_names_and_not_what_a_file_of_that_name_does(limited: Account) -> None:
    """As SECURITY.md says: this account is as good as root on the host."""
    file = FILE.split()[1]
    make = f"mkdir -p {pathlib.PurePath(file).parent}; echo 'import os; print(os.getuid())' > {file}"
    done = limited.as_user("hv1", f"{make}; sudo -n /bin/sh -c 'echo BECOME-SUCCESS-abc ; {FILE}'; rm {file}")
    assert (done.returncode, done.stdout.split()) == (0, ["BECOME-SUCCESS-abc", "0"]), done.stderr


@pytest.mark.fault("R14", "P2")
def test_without_sudo_what_can_be_read_is_known_and_the_rest_unknown(account: Account) -> None:
    account.sudoers("# nothing\n")
    states = account.states(readiness_become=False)
    assert [state[:2] for state in states] == [state[:2] for state in account.states(user="root")]
    assert {state[2] for state in states} <= {"unknown", "blocked"}
    assert "not_probed" in {state[3] for state in states}
    assert "Missing sudo password" in account.play("readiness", code=2)
