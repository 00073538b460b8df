# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time and memory of the pairing stage, from a fact cache of growing fleets.

Parsing the cache is the yardstick: no planner can do with less, and it makes the numbers of two machines comparable.
Each size is measured in a process of its own, so that the peak of one fleet does not hide that of the next.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils import _pairing, _readiness, _requests

MODULE = "ansible_collections.vfio.migration.tests.benchmarks.pairing"
SIZES = (200, 1000, 5000)
PARENTS, TYPES, DEVICES, VERSIONS = 8, 4, 16, 3
VENDOR, BOOT, DRIVER = "pci:10de", "0f3e4d5c-1a2b-4c3d-8e9f-0123456789ab", "nvidia"
TIME = "2026-11-22T12:00:00Z"
MAX_AGE = 86400


@dataclasses.dataclass(frozen=True)
class Row:
    """One fleet. Times are seconds of CPU, sizes are MiB."""

    hosts: int
    cache: float
    parse: float
    requests: float
    pairings: float
    summary: float
    memory: float
    """Peak above the parsed facts."""
    classes: int
    pairs: int

    @property
    def ratio(self) -> float:
        """All of the stage, divided by the parsing."""
        return (self.requests + self.pairings + self.summary) / self.parse


def generate(folder: pathlib.Path, hosts: int, seed: int = 1) -> None:
    """Lay a fact cache as the jsonfile cache plugin of ansible-core would, of a fleet in the middle of an upgrade."""
    chance = random.Random(seed)
    for number in range(hosts):
        facts = _facts(f"hv{number:05}", chance)
        (folder / f"s1_hv{number:05}").write_text(json.dumps({"__payload__": json.dumps(facts)}))


def _facts(host: str, chance: random.Random) -> dict[str, t.Any]:
    version = chance.randrange(VERSIONS)
    parents = [f"0000:{bus:02x}:00.0" for bus in range(0x3B, 0x3B + PARENTS)]
    types = [f"{DRIVER}-{number}" for number in range(474, 474 + TYPES)]
    evidence = {"boot_id": BOOT, "driver": DRIVER, "driver_version": f"550.{version}", "time": TIME}
    devices = [_device(chance, chance.choice(parents), chance.choice(types), version) for _time in range(DEVICES)]
    verdicts = [
        _verdict(parent, kind, None, f"{kind}-{asked:08x}", asked <= version, evidence)
        for parent in parents
        for kind in types
        for asked in range(VERSIONS)
    ]
    return {
        "vfio_migration": {
            "schema_version": 1,
            "host": host,
            "boot_id": BOOT,
            "kernel": "6.12.48+deb13-amd64",
            "page_size": 4096,
            "time": TIME,
            "parents": [_parent(address, types, version, chance) for address in parents],
            "devices": devices,
            "workloads": [_workload(device["id"]) for device in devices],
            "notes": [],
        },
        "vfio_migration_verdicts": {
            "schema_version": 1,
            "host": host,
            "boot_id": BOOT,
            "time": TIME,
            "written": len(verdicts),
            "would_write": [],
            "verdicts": verdicts,
            "notes": [],
        },
    }


def _attribute(value: str) -> dict[str, t.Any]:
    return {"status": "ok", "value": value, "reason": None, "errno": None, "raw": None}


def _parent(address: str, types: t.Sequence[str], version: int, chance: random.Random) -> dict[str, t.Any]:
    return {
        "address": address,
        "path": f"devices/pci0000:3a/{address}",
        "subsystem": "pci",
        "vendor": VENDOR,
        "driver": DRIVER,
        "driver_version": f"550.{version}",
        "numa_node": 0,
        "hardware": {"vendor": "NVIDIA Corporation", "model": "GA102GL [A40]"},
        "state": "ok",
        "types": [
            {
                "id": kind,
                "name": f"GRID A40-{kind}",
                "description": "num_heads=4, frl_config=60, framebuffer=4096M, max_instance=12",
                "device_api": "vfio-pci",
                "available_instances": chance.randrange(3),
                "migration_version": _attribute(f"{kind}-{version:08x}"),
            }
            for kind in types
        ],
    }


def _device(chance: random.Random, parent: str, kind: str, version: int) -> dict[str, t.Any]:
    digits = f"{chance.getrandbits(128):032x}"
    uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return {
        "id": uuid,
        "kind": "mdev",
        "path": f"devices/pci0000:3a/{parent}/{uuid}",
        "bus": "mdev",
        "parent": parent,
        "type": kind,
        "vendor": VENDOR,
        "driver": DRIVER,
        "driver_version": f"550.{version}",
        "numa_node": 0,
        "hardware": {"vendor": "NVIDIA Corporation", "model": "GA102GL [A40]"},
        "iommu_group": 12,
        "in_use_by": [{"pid": 4711, "command": "qemu-system-x86_64", "workload": uuid}],
        "migration_version": _attribute(f"{kind}-{version:08x}"),
    }


def _workload(uuid: str) -> dict[str, t.Any]:
    name = f"vm-{uuid[:8]}"
    return {
        "id": uuid, "kind": "qemu", "name": name, "uuid": uuid, "pid": 4711, "state": "running", "devices": [uuid]
    }  # fmt: skip


def _verdict(
    parent: str, kind: str, device: str | None, string: str, accepted: bool, evidence: dict[str, str]
) -> dict[str, t.Any]:
    return {
        "scope": "type",
        "parent": parent,
        "type": kind,
        "device": device,
        "string": string,
        "vendor": VENDOR,
        "source_type": kind,
        "verdict": "compatible" if accepted else "incompatible",
        "reason": None if accepted else "errno",
        "errno": None if accepted else "EINVAL",
        "bytes_written": len(string) if accepted else None,
        "form": "without_newline",
        "evidence": evidence,
    }


def measure(sizes: t.Sequence[int] = SIZES) -> list[Row]:
    """Generate and measure a fleet of each size."""
    rows = []
    for hosts in sizes:
        with tempfile.TemporaryDirectory(prefix="fact-cache-") as folder:
            generate(pathlib.Path(folder), hosts)
            done = subprocess.run(
                [sys.executable, "-m", MODULE, "--worker", folder], check=True, stdout=subprocess.PIPE, text=True
            )
        rows.append(Row(**json.loads(done.stdout)))
    return rows


def _worker(folder: pathlib.Path) -> Row:
    clock = time.process_time
    marks = [clock()]
    facts = {}
    size = 0
    for path in sorted(folder.iterdir()):
        text = path.read_text()
        size += len(text)
        facts[path.name.removeprefix("s1_")] = json.loads(json.loads(text)["__payload__"])
    marks.append(clock())
    gc.collect()
    before = _memory("VmRSS")
    with contextlib.suppress(OSError):
        # Forget the peak of the parsing (Linux, proc(5)); without it the number is too high, never too low.
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    marks.append(clock())
    _requests.probe_requests(facts, MAX_AGE, TIME)
    marks.append(clock())
    matrix = _pairing.pairings(facts, MAX_AGE, TIME)
    marks.append(clock())
    _readiness.summary(matrix, *_readiness.standings(matrix))
    marks.append(clock())
    return Row(
        hosts=len(facts),
        cache=size / 2**20,
        parse=marks[1] - marks[0],
        requests=marks[3] - marks[2],
        pairings=marks[4] - marks[3],
        summary=marks[5] - marks[4],
        memory=_memory("VmHWM") - before,
        classes=len(matrix["sources"]) + len(matrix["targets"]),
        pairs=len(matrix["pairings"]),
    )


def _memory(what: str) -> float:
    """MiB of this process as the kernel counts them."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(what)


def table(rows: t.Sequence[Row]) -> str:
    """All rows for a person; the last two columns stay level when the stage grows with the number of hosts."""
    head = ("hosts", "cache MiB", "parse s", "ask s", "pair s", "count s", "/ parse", "MiB more", "ms/host", "KiB/host")
    lines = [" ".join(f"{each:>9}" for each in head)]
    for row in rows:
        stage = row.requests + row.pairings + row.summary
        cells = (
            f"{row.hosts}", f"{row.cache:.0f}", f"{row.parse:.2f}", f"{row.requests:.2f}", f"{row.pairings:.2f}",
            f"{row.summary:.2f}", f"{row.ratio:.2f}", f"{row.memory:.0f}", f"{1000 * stage / row.hosts:.2f}",
            f"{1024 * row.memory / row.hosts:.1f}",
        )  # fmt: skip
        lines.append(" ".join(f"{each:>9}" for each in cells))
    return "\n".join(lines)


def main() -> None:
    """Print the table, or measure one fleet for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of hosts")
    parser.add_argument("--worker", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        json.dump(dataclasses.asdict(_worker(arguments.worker)), sys.stdout)
    else:
        print(table(measure(arguments.sizes)))


if __name__ == "__main__":
    main()
