# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback in real runs of ansible-playbook, into files and on a terminal."""

from __future__ import annotations

import fcntl
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import simulated_fleet
from ansible_collections.vfio.migration.tests.tools import setup

pytestmark = pytest.mark.thorough

SLOW = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Take a while
      ansible.builtin.wait_for:
        timeout: 1
    - name: Take as long again
      ansible.builtin.wait_for:
        timeout: 1
"""


class Run:
    """How a playbook ended, what it printed, and what came to standard error."""

    def __init__(self, folder: pathlib.Path, words: list[str], terminal: bool, **options: str) -> None:
        own = {"COLLECTIONS_PATH": str(setup.TREE), "LOCALHOST_WARNING": "0", "HOME": str(folder)}
        own.update(CALLBACKS_ENABLED="vfio.migration.progress", NOCOLOR="1", RETRY_FILES_ENABLED="0")
        env = {**os.environ, **{f"ANSIBLE_{key}": value for key, value in own.items()}, "TERM": "xterm"}
        env.update({f"VFIO_MIGRATION_PROGRESS_{key.upper()}": value for key, value in options.items()})
        reader, writer = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        chunks: list[bytes] = []
        thread = threading.Thread(target=self._drain, args=(reader, chunks))
        thread.start()
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", *words], env=env, cwd=folder, text=True,
            stdout=subprocess.PIPE, stderr=writer, stdin=subprocess.DEVNULL, timeout=300, check=False,
        )  # fmt: skip
        os.close(writer)
        thread.join()
        os.close(reader)
        self.code, self.output, self.error = done.returncode, done.stdout, b"".join(chunks).decode()

    @staticmethod
    def _drain(reader: int, chunks: list[bytes]) -> None:
        try:
            while chunk := os.read(reader, 65536):
                chunks.append(chunk)
        except OSError:
            pass  # a terminal whose other end is closed


@pytest.fixture
def slow(tmp_path: pathlib.Path) -> list[str]:
    """A playbook of two stages on six hosts, two at a time."""
    (tmp_path / "slow.yml").write_text(SLOW)
    hosts = "".join(f"h{number}\n" for number in range(6))
    (tmp_path / "hosts").write_text(
        f"[all]\n{hosts}\n[all:vars]\nansible_connection=local\nansible_python_interpreter={sys.executable}\n"
    )
    return ["slow.yml", "-i", "hosts", "--forks", "2"]


def test_lines_come_to_standard_error(tmp_path: pathlib.Path) -> None:
    with simulated_fleet("small") as fleet:
        words = ["vfio.migration.readiness", "-i", str(fleet.inventory)]
        run = Run(tmp_path, words, False, interval="0", percent="50")
    assert run.code == 0, run.output + run.error
    lines = [line for line in run.error.splitlines() if line.startswith("progress: ")]
    assert any(line.startswith("progress: Gather what every host's sysfs says: 6 of 6 hosts") for line in lines)
    assert any(line.startswith("progress: Ask the drivers: ") for line in lines)
    assert lines[-1].startswith("progress: all stages: 6 hosts, took ")
    assert "progress" not in run.output
    assert "\x1b" not in run.error


def test_short_run_says_nothing(tmp_path: pathlib.Path, slow: t.Any) -> None:
    run = Run(tmp_path, slow, False, interval="300")
    assert (run.code, run.error) == (0, "")


def test_terminal_has_one_line_and_is_given_back(tmp_path: pathlib.Path, slow: list[str]) -> None:
    run = Run(tmp_path, slow, True)
    assert run.code == 0, run.output
    assert re.search(r"Take a while: [1-6] of 6 hosts", run.error)
    assert re.search(r"Take as long again: [1-6] of 6 hosts", run.error)
    assert run.error.count("\x1b[1;23r") == 1
    assert run.error.endswith("\x1b[24;1H\x1b[2K\x1b[r\x1b8")
    assert "\x1b" not in run.output
    assert run.output.count("ok: [") == 12
