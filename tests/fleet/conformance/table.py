# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table: what is done, and what a kernel answers. ``performer.py`` says what each kind of step does.

A row ends as it began: its instances are taken back and its knobs turned back. What it made come, go and change, and
the uevents of it, are compared, too, and need no mention here.
"""

from __future__ import annotations

import typing as t

Step = dict[str, t.Any]

PLATFORM = "mdev_lab.0"
EXCLUSIVE = "mdev_lab.1"
COUNTED = "mdev_lab.2"
PCI, OTHER_PCI = "0000:00:10.0", "0000:00:11.0"
PATHS = {
    **{name: f"/sys/devices/platform/{name}" for name in (PLATFORM, EXCLUSIVE, COUNTED)},
    **{name: f"/sys/devices/pci0000:00/{name}" for name in (PCI, OTHER_PCI)},
}
"""Parents: three platform devices with a pool of four units, with one type at a time, and with the core's counter; and
two PCI functions."""
ACCEPTED = "another-string-1"
BY_RULE = {EXCLUSIVE: ("exact", ""), COUNTED: ("asymmetric", ACCEPTED), OTHER_PCI: ("lying", "")}
"""Parents that do not accept what is older: their rule, and what alone an asymmetric one accepts."""
TYPES = {"mdev_lab-A1": 1, "mdev_lab-A2": 2, "mdev_lab-A4": 4}
"""What each type takes of the pool."""
STRING = "platform-A1-4.2"
BUS = "/sys/bus/mdev/devices"
UUID = "aaaaaaaa-0000-4000-8000-%012d"
ONE, TWO, THREE = (UUID % number for number in (1, 2, 3))


class Differs(t.NamedTuple):
    """``answers``: what the simulator says instead, by the number of the step, the first being 0. ``left``: names of
    what is started and therefore not yet waited for there."""

    why: str
    answers: t.Mapping[int, t.Any]
    left: tuple[str, ...] = ()


class Row(t.NamedTuple):
    """``steps``: what is done, and its answer; ANY where the answer is compared but is not worth a word here.
    ``differs``: what cannot be the same here, and why."""

    name: str
    steps: tuple[tuple[Step, t.Any], ...]
    differs: Differs | None = None


ANY = object()
DONE = None


def type_dir(parent: str = PLATFORM, number: int = 1) -> str:
    return f"{PATHS[parent]}/mdev_supported_types/mdev_lab-A{number}"


VERSION = f"{type_dir()}/migration_version"
CREATE = f"{type_dir()}/create"


def read(path: str, size: int = 1 << 16) -> Step:
    return {"do": "read", "path": path, "size": size}


def write(path: str, data: str) -> Step:
    return {"do": "write", "path": path, "data": data}


def entry(path: str) -> Step:
    return {"do": "entry", "path": path}


def names(path: str) -> Step:
    return {"do": "list", "path": path}


def change(call: str, path: str) -> Step:
    return {"do": "change", "call": call, "path": path}


def opened(path: str, flags: str = "r", name: str = "file") -> Step:
    return {"do": "open", "name": name, "path": path, "flags": flags}


def on(do: str, name: str = "file", **more: t.Any) -> Step:
    """``read_on``, ``pread``, ``write_on``, ``pwrite``, ``writev`` or ``seek`` of an open file."""
    return {"do": do, "name": name, **more}


def start(step: Step, name: str = "other") -> Step:
    return {"do": "start", "name": name, "step": step}


def awaited(seconds: float = 10.0, name: str = "other") -> Step:
    return {"do": "await", "name": name, "seconds": seconds}


def signal(number: str, name: str = "other") -> Step:
    return {"do": "signal", "name": name, "number": number}


def until(path: str, there: bool) -> Step:
    return {"do": "until", "path": path, "there": there}


def as_nobody(step: Step) -> Step:
    return {"do": "as_nobody", "step": step}


def turn(knob: str, *values: t.Any) -> Step:
    """Something that each platform does in its own way, see ``platforms.py``."""
    return {"do": "turn", "knob": knob, "values": values}


def made(uuid: str = ONE, parent: str = PLATFORM, number: int = 1) -> tuple[Step, t.Any]:
    return write(f"{type_dir(parent, number)}/create", uuid), len(uuid)


def removed(uuid: str = ONE) -> tuple[Step, t.Any]:
    return write(f"{BUS}/{uuid}/remove", "1"), 1


LEAVING = (
    (start(write(f"{BUS}/{ONE}/remove", "1")), DONE),
    (until(f"{BUS}/{ONE}", False), DONE),
    (awaited(0.3), "waits"),
)
"""A removal that waits for whoever holds the instance."""


def does(name: str, *steps: tuple[Step, t.Any], differs: Differs | None = None) -> Row:
    return Row(name, steps, differs)


READS = (
    does("read migration_version of a type", (read(VERSION), f"{STRING}\n")),
    does("read migration_version of an instance", made(), (read(f"{BUS}/{ONE}/migration_version"), f"{STRING}\n")),
    does("read migration_version of a PCI parent", (read(f"{type_dir(PCI)}/migration_version"), "1234-11e8-A1-4.2\n")),
    does("read name", (read(f"{type_dir()}/name"), "MDEVLAB A-1Q\n")),
    does("read description", (read(f"{type_dir()}/description"), "cost=1, capacity=4, max_instance=4\n")),
    does("read device_api", (read(f"{type_dir()}/device_api"), "vfio-pci\n")),
    does(
        "read available_instances of siblings",
        *((read(f"{type_dir(PLATFORM, cost)}/available_instances"), f"{4 // cost}\n") for cost in TYPES.values()),
    ),
    does(
        "read in small pieces",
        (opened(VERSION), DONE),
        *((on("read_on", size=6), part) for part in ("platfo", "rm-A1-", "4.2\n", "", "")),
    ),
    does("read no byte", (opened(VERSION), DONE), (on("read_on", size=0), ""), (on("read_on"), f"{STRING}\n")),
    does(
        "read at an offset",
        (opened(VERSION), DONE),
        (on("pread", size=100, offset=9), "A1-4.2\n"),
        (on("pread", size=100, offset=99), ""),
    ),
    does(
        "read again after going back",
        (opened(VERSION), DONE),
        (on("read_on"), f"{STRING}\n"),
        (on("seek", offset=0), 0),
        (on("read_on"), f"{STRING}\n"),
    ),
    does(
        "a file at its end does not ask again",
        (opened(f"{type_dir()}/available_instances"), DONE),
        (on("read_on", size=2), "4\n"),
        made(),
        (on("read_on", size=2), ""),
        (on("pread", size=2, offset=0), "3\n"),
    ),
    does(
        "a read at another offset asks again",
        (opened(f"{type_dir()}/available_instances"), DONE),
        (on("read_on", size=1), "4"),
        made(),
        (on("pread", size=1, offset=0), "3"),
        (on("read_on", size=1), "\n"),
    ),
    does("read what can only be written", (read(CREATE), "EACCES"), (opened(CREATE, "rw"), "EACCES")),
    does(
        "read what is not there", (read(f"{type_dir()}/nothing"), "ENOENT"), (read(f"{type_dir()}/name/x"), "ENOTDIR")
    ),
    does("read a directory", (read(type_dir()), "EISDIR"), (opened(VERSION, "d"), "ENOTDIR")),
    does(
        "read uevent",
        made(),
        (read(f"{BUS}/{ONE}/uevent"), "DRIVER=mdev_lab_mdev\n"),
        (read(f"{PATHS[PCI]}/uevent"), ANY),
        (read(f"{PATHS[PLATFORM]}/uevent"), ANY),
    ),
)

FAULTS = {
    "ENODEV": "ENODEV",
    "EIO": "EIO",
    "EAGAIN": "EAGAIN",
    "EPERM": "EPERM",
    "empty": "",
    "newline": "\n",
    "nul": "plat\0orm-A1-4.2\n",
    "notascii": "\xff\xfe\xc3\x28form-A1-4.2\n",
    "bare": STRING,
    "full": STRING + "x" * (4095 - len(STRING)),
    "multiline": f"{STRING}\nsecond line\n",
}
"""What a read says of a node that answers like this."""

STRANGE = tuple(
    does(
        f"read what answers {name}",
        (turn("fault", PLATFORM, 1, "type", name, "read"), DONE),
        (read(VERSION), answer),
        (opened(VERSION), DONE),
        (on("read_on", size=100), answer if answer.startswith("E") else answer[:100]),
        (on("read_on", size=100), answer if answer.startswith("E") else answer[100:200]),
    )
    for name, answer in FAULTS.items()
) + (
    does(
        "write what answers EIO",
        (turn("fault", PLATFORM, 1, "type", "EIO", "write"), DONE),
        (write(VERSION, STRING), "EIO"),
        (read(VERSION), f"{STRING}\n"),
    ),
    does(
        "what the instances of a type answer, and not the type",
        made(),
        made(TWO, number=2),
        (turn("fault", PLATFORM, 1, "device", "EPERM", "any"), DONE),
        (read(f"{BUS}/{ONE}/migration_version"), "EPERM"),
        (write(f"{BUS}/{ONE}/migration_version", STRING), "EPERM"),
        (read(VERSION), f"{STRING}\n"),
        (write(VERSION, STRING), len(STRING)),
        (read(f"{BUS}/{TWO}/migration_version"), "platform-A2-4.2\n"),
    ),
    does(
        "a read that hangs",
        (turn("fault", PLATFORM, 1, "type", "hang", "read"), DONE),
        (start(read(VERSION)), DONE),
        (awaited(1.0), "waits"),
        (read(f"{type_dir()}/name"), "MDEVLAB A-1Q\n"),
        (signal("SIGTERM"), DONE),
        (awaited(0.3), "waits"),
        (turn("clear"), DONE),
        (awaited(), "ended by SIGTERM"),
    ),
)

WRITES = (
    *(
        does(f"write {name}", (write(VERSION, data), answer))
        for name, data, answer in (
            ("the right string", STRING, len(STRING)),
            ("the right string and a newline", f"{STRING}\n", len(STRING) + 1),
            ("an older minor version", "platform-A1-4.1", len(STRING)),
            ("a newer minor version", "platform-A1-4.3", "EINVAL"),
            ("a blank before the string", f" {STRING}", "EINVAL"),
            ("another type's string", "platform-A2-4.2", "EINVAL"),
            ("nothing", "", 0),
            ("a newline", "\n", "EINVAL"),
            ("a NUL inside", "plat\0orm-A1-4.2", "EINVAL"),
            ("what is not ASCII", "\xff\xfe", "EINVAL"),
            ("a page", "x" * 4096, "EINVAL"),
            ("more than a page", "x" * 5000, "EINVAL"),
        )
    ),
    does(
        "write to an instance",
        made(),
        *(
            (write(f"{BUS}/{ONE}/migration_version", data), answer)
            for data, answer in ((STRING, 15), ("no", "EINVAL"), ("", 0))
        ),
    ),
    does(
        "several writes on one open file",
        (opened(VERSION, "rw"), DONE),
        (on("write_on", data=STRING), 15),
        (on("write_on", data="no"), "EINVAL"),
        (on("write_on", data=STRING), 15),
        (on("seek", offset=0), 0),
        (on("read_on"), f"{STRING}\n"),
        (on("pwrite", data=STRING, offset=3), 15),
        (on("write_on", data=STRING[:8]), "EINVAL"),
    ),
    does(
        "a string in two parts of one write",
        (opened(VERSION, "w"), DONE),
        (on("writev", parts=[STRING[:5], STRING[5:]]), ANY),
    ),
    does("write after truncating", (opened(VERSION, "wt"), DONE), (on("write_on", data=STRING), 15)),
    does("write at the end", (opened(VERSION, "wa"), DONE), (on("write_on", data=STRING), 15)),
    does("write what may be created", (opened(VERSION, "wc"), DONE), (on("write_on", data=STRING), 15)),
    does(
        "write what can only be read",
        (write(f"{type_dir()}/name", "x"), "EACCES"),
        (opened(f"{type_dir()}/available_instances", "rw"), "EACCES"),
    ),
    does(
        "write what is not there", (write(f"{type_dir()}/nothing", "x"), "ENOENT"), (write(type_dir(), "x"), "EISDIR")
    ),
    does("create a file", (opened(f"{type_dir()}/nothing", "wc"), "EACCES")),
    *(
        does(f"{call} {what}", (change(call, f"{type_dir()}/{what}"), answer))
        for call, what, answer in (
            ("mkdir", "new", "EPERM"),
            ("rmdir", "devices", "EPERM"),
            ("unlink", "name", "EPERM"),
            ("rename", "name", "EPERM"),
            ("symlink", "new", "EPERM"),
            ("link", "name", "EPERM"),
            ("truncate", "migration_version", DONE),
            ("truncate", "name", DONE),
        )
    ),
)

OLDER, LIAR = "platform-A1-4.1", "1b36-0005-A1"
RULES = tuple(
    does(
        f"what {rule} accepts",
        made(ONE, parent),
        *(
            step
            for data, of_type, of_device in answers
            for step in (
                (write(f"{type_dir(parent)}/migration_version", data), len(data) if of_type else "EINVAL"),
                (write(f"{BUS}/{ONE}/migration_version", data), len(data) if of_device else "EINVAL"),
            )
        ),
    )
    for rule, parent, answers in (
        # strings, and whether type and device accept them; ACCEPTED is all that the asymmetric one takes
        ("exact", EXCLUSIVE, ((STRING, True, True), (OLDER, False, False), (f"{STRING}\n", True, True))),
        ("asymmetric", COUNTED, ((STRING, False, False), (OLDER, False, False), (ACCEPTED, True, True))),
        (
            "lying",
            OTHER_PCI,
            ((f"{LIAR}-4.2", True, False), (f"{LIAR}-4.1", True, False), (f"{LIAR}-4.3", False, False)),
        ),
    )
)

UEVENTS = (
    *(
        does(f"write {name} to uevent", made(), (write(f"{BUS}/{ONE}/uevent", data), answer))
        for name, data, answer in (
            ("add", "add", 3),
            ("change and a newline", "change\n", 7),
            ("bind", "bind", 4),
            ("a UUID and a variable", f"change {TWO} KEY=value A=1", 7 + 36 + 14),
            ("a UUID that is none", "change x", "EINVAL"),
            ("a variable that is none", f"change {TWO} KEY", "EINVAL"),
            ("a UUID, a variable and a newline", f"change {TWO} A=1\n", ANY),
            ("a UUID and a newline", f"change {TWO}\n", ANY),
            ("two blanks", f"change  {TWO}", "EINVAL"),
            ("upper case", "CHANGE", "EINVAL"),
            ("no action", "x", "EINVAL"),
            ("nothing", "", 0),
            ("more than a page", "x" * 5000, "EINVAL"),
        )
    ),
    does(
        "write change to a parent's uevent",
        (write(f"{PATHS[PLATFORM]}/uevent", "change"), 6),
        (write(f"{PATHS[PCI]}/uevent", "change"), 6),
    ),
)

CREATES = (
    *(
        does(
            f"create {name}",
            (write(CREATE, data), answer),
            (names(BUS), [data[:36].lower()] if answer != "EINVAL" and answer else []),
        )
        for name, data, answer in (
            ("plain", ONE, 36),
            ("with a newline", f"{ONE}\n", 37),
            ("with any 37th byte", f"{ONE}x", 37),
            ("with a NUL as 37th byte", f"{ONE}\0", 37),
            ("in upper case", ONE.upper(), 36),
            ("not RFC 4122", "00000100-0000-0000-0000-000000000007", 36),
            ("all zeros", "00000000-0000-0000-0000-000000000000", 36),
            ("in braces", "{" + ONE + "}", "EINVAL"),
            ("too short", ONE[:35], "EINVAL"),
            ("too long", f"{ONE}\n\n", "EINVAL"),
            ("without dashes", ONE.replace("-", ""), "EINVAL"),
            ("with other letters", f"g{ONE[1:]}", "EINVAL"),
            ("with a blank before", f" {ONE}", "EINVAL"),
            ("with a NUL inside", f"aaaa\0aaa{ONE[8:]}", "EINVAL"),
            ("nothing", "", 0),
            ("longer than a page", ONE * 120, "EINVAL"),
        )
    ),
    does(
        "look at an instance",
        made(),
        *(
            (read(f"{BUS}/{ONE}/{name}"), answer)
            for name, answer in (
                ("power/control", "auto\n"),
                ("power/runtime_status", "unsupported\n"),
                ("power/autosuspend_delay_ms", "EIO"),
                ("iommu_group/name", "vfio-noiommu\n"),
                ("iommu_group/type", "unknown\n"),
                ("iommu_group/reserved_regions", ""),
                ("mdev_type/available_instances", "3\n"),
            )
        ),
        ({"do": "real", "path": f"{BUS}/{ONE}"}, f"{PATHS[PLATFORM]}/{ONE}"),
        ({"do": "real", "path": f"{BUS}/{ONE}/driver/module"}, "/sys/module/mdev_lab"),
        (names(f"{BUS}/{ONE}/mdev_type/devices"), [ONE]),
    ),
    does("create on PCI", made(parent=PCI)),
    does("create what is there, same type", made(), (write(CREATE, ONE), "EEXIST")),
    does("create what is there, other type", made(), (write(f"{type_dir(PLATFORM, 2)}/create", ONE), "EEXIST")),
    does("create what is there, other parent", made(), (write(f"{type_dir(PCI)}/create", ONE), "EEXIST")),
    does("create what is there in upper case", made(), (write(CREATE, ONE.upper()), "EEXIST")),
    does(
        "create what is there where no room is",
        made(),
        made(TWO, EXCLUSIVE, 4),
        (write(f"{type_dir(EXCLUSIVE, 4)}/create", ONE), "EEXIST"),
    ),
    does(
        "create until the pool is empty",
        made(ONE, number=2),
        made(TWO),
        (write(f"{type_dir(PLATFORM, 2)}/create", THREE), "ENOSPC"),
        made(THREE),
        (write(CREATE, UUID % 4), "ENOSPC"),
    ),
    does(
        "create another type than the first",
        made(ONE, EXCLUSIVE),
        (write(f"{type_dir(EXCLUSIVE, 2)}/create", TWO), "EINVAL"),
    ),
    does(
        "create until the core's counter is at zero",
        made(ONE, COUNTED),
        made(TWO, COUNTED, 4),
        (write(f"{type_dir(COUNTED)}/create", THREE), "EUSERS"),
        removed(ONE),
        made(THREE, COUNTED),
    ),
    does(
        "the driver refuses to make it",
        (turn("create_errno", PLATFORM, "EIO"), DONE),
        (write(CREATE, ONE), "EIO"),
        (turn("clear"), DONE),
        made(),
    ),
    does(
        "create on an open file twice",
        (opened(CREATE, "w"), DONE),
        (on("write_on", data=ONE), 36),
        (on("write_on", data=TWO), 36),
        (on("write_on", data=TWO), "EEXIST"),
    ),
    does(
        "an instance before it is bound",
        (turn("bind_delay", PLATFORM, 2000), DONE),
        (start(write(CREATE, ONE)), DONE),
        (until(f"{BUS}/{ONE}", True), DONE),
        (awaited(0.2), "waits"),
        (names(f"{PATHS[PLATFORM]}/{ONE}"), ["driver", "power", "remove", "subsystem", "uevent"]),
        (names(f"{type_dir()}/devices"), []),
        (read(f"{type_dir()}/available_instances"), ANY),
        (write(CREATE, ONE), "EEXIST"),
        (awaited(), 36),
    ),
    does(
        "read uevent before it is bound, where some kernels wait for that",
        (turn("bind_delay", PLATFORM, 1000), DONE),
        (start(write(CREATE, ONE)), DONE),
        (until(f"{BUS}/{ONE}", True), DONE),
        (awaited(0.2), "waits"),
        (read(f"{BUS}/{ONE}/uevent"), "DRIVER=mdev_lab_mdev\n"),
        (awaited(), 36),
    ),
    does(
        "remove before it is bound, which spends remove",
        (turn("bind_delay", PLATFORM, 2000), DONE),
        (start(write(CREATE, ONE)), DONE),
        (until(f"{BUS}/{ONE}", True), DONE),
        (awaited(0.2), "waits"),
        (write(f"{BUS}/{ONE}/remove", "1"), "EAGAIN"),
        (awaited(), 36),
        (write(f"{BUS}/{ONE}/remove", "1"), "ENOENT"),
        (names(f"{BUS}/{ONE}"), ANY),
        (write("/sys/bus/platform/drivers/mdev_lab/unbind", PLATFORM), len(PLATFORM)),
        (write("/sys/bus/platform/drivers/mdev_lab/bind", PLATFORM), len(PLATFORM)),
    ),
)

REMOVES = (
    *(
        does(
            f"remove with {name}",
            made(),
            (write(f"{BUS}/{ONE}/remove", data), answer),
            (names(BUS), [] if gone else [ONE]),
        )
        for name, data, answer, gone in (
            ("1", "1", 1, True),
            ("1 and a newline", "1\n", 2, True),
            ("2", "2", 1, True),
            ("+1", "+1", 2, True),
            ("0x1", "0x1", 3, True),
            ("017", "017", 3, True),
            ("a NUL after 1", "1\0x", 3, True),
            ("the largest number", "18446744073709551615", 20, True),
            ("0", "0", 1, False),
            ("0x0", "0x0", 3, False),
            ("nothing", "", 0, False),
            ("abc", "abc", "EINVAL", False),
            ("1x", "1x", "EINVAL", False),
            ("a blank before 1", " 1", "EINVAL", False),
            ("a blank after 1", "1 ", "EINVAL", False),
            ("two newlines", "1\n\n", "EINVAL", False),
            ("-1", "-1", "EINVAL", False),
            ("09", "09", "EINVAL", False),
            ("0b1", "0b1", "EINVAL", False),
            ("0o1", "0o1", "EINVAL", False),
            ("1_0", "1_0", "EINVAL", False),
            ("too large a number", "18446744073709551616", "EINVAL", False),
            ("a newline", "\n", "EINVAL", False),
            ("y", "y", "EINVAL", False),
        )
    ),
    does("remove what is not there", (write(f"{BUS}/{ONE}/remove", "1"), "ENOENT")),
    does("remove twice", made(), removed(), (write(f"{BUS}/{ONE}/remove", "1"), "ENOENT")),
    does(
        "remove twice on one open file",
        made(),
        (opened(f"{BUS}/{ONE}/remove", "w"), DONE),
        (on("write_on", data="0"), 1),
        (on("write_on", data="1"), 1),
        (on("write_on", data="1"), "ENODEV"),
    ),
    does("make it again", made(), removed(), made(number=2)),
    does(
        "numbers of groups and devices are used again",
        made(ONE),
        (read(f"{BUS}/{ONE}/uevent"), ANY),
        removed(ONE),
        made(TWO),
    ),
)

HELD = (
    does(
        "remove of a held device blocks, and it is off the bus at once",
        made(),
        (turn("hold", ONE), DONE),
        (opened(f"{BUS}/{ONE}/migration_version", "rw", "version"), DONE),
        (start(write(f"{BUS}/{ONE}/remove", "1")), DONE),
        (until(f"{BUS}/{ONE}", False), DONE),
        (awaited(0.5), "waits"),
        (names(BUS), []),
        (names(f"{PATHS[PLATFORM]}/{ONE}"), ANY),
        (names(f"{PATHS[PLATFORM]}/{ONE}/vfio-dev"), ANY),
        (names("/dev/vfio"), ANY),
        (names("/sys/class/vfio-dev"), ANY),
        (names("/sys/class/vfio"), ANY),
        (names("/sys/bus/mdev/drivers/mdev_lab_mdev"), ["bind", "module", "uevent", "unbind"]),
        (names(f"{type_dir()}/devices"), []),
        (read(f"{type_dir()}/available_instances"), "3\n"),
        (entry(f"{PATHS[PLATFORM]}/{ONE}/iommu_group"), ANY),
        (start(write(f"{PATHS[PLATFORM]}/{ONE}/remove", "1"), "second"), DONE),
        (awaited(name="second"), "ENOENT"),
        (on("read_on", "version"), "ENODEV"),
        (on("write_on", "version", data=STRING), "ENODEV"),
        (write(CREATE, ONE), "EEXIST"),
        (turn("release"), DONE),
        (awaited(), 1),
        (names(BUS), []),
    ),
    does(
        "a signal does not end a remove that blocks",
        made(),
        (turn("hold", ONE), DONE),
        *LEAVING,
        (signal("SIGTERM"), DONE),
        (awaited(0.3), "waits"),
        (signal("SIGKILL"), DONE),
        (awaited(0.3), "waits"),
        (turn("release"), DONE),
        (awaited(), "ended by SIGTERM"),
        (names(BUS), []),
    ),
    does(
        "a second remove on a file that was open before",
        made(),
        (turn("hold", ONE), DONE),
        (opened(f"{BUS}/{ONE}/remove", "w"), DONE),
        *LEAVING,
        (start(on("write_on", data="1"), "second"), DONE),
        (awaited(0.3, "second"), "ENODEV"),
        (turn("release"), DONE),
        (awaited(), 1),
        differs=Differs(
            "FUSE lets one writer of a file in at a time: the second waits for the first, and gets ENODEV after it",
            {7: "waits"},
            ("second",),
        ),
    ),
    does(
        "a held device, to look at",
        made(),
        (turn("hold", ONE), DONE),
        (names("/dev/vfio"), ANY),
        (turn("release"), DONE),
    ),
    does(
        "another is made while a remove blocks",
        made(),
        (turn("hold", ONE), DONE),
        *LEAVING,
        made(TWO),
        removed(TWO),
        (turn("release"), DONE),
        (awaited(), 1),
    ),
)

GONE = (
    does(
        "files kept open over a removal",
        made(),
        (opened(f"{BUS}/{ONE}/migration_version", "rw"), DONE),
        (on("read_on"), f"{STRING}\n"),
        (opened(f"{BUS}/{ONE}/migration_version", "rw", "unread"), DONE),
        (opened(f"{BUS}/{ONE}/uevent", "rw", "uevent"), DONE),
        (opened(f"{BUS}/{ONE}", "d", "directory"), DONE),
        removed(),
        (on("read_on"), "ENODEV"),
        (on("pread", size=10, offset=0), "ENODEV"),
        (on("pread", size=10, offset=3), "ENODEV"),
        (on("write_on", data=STRING), "ENODEV"),
        (on("read_on", "unread"), "ENODEV"),
        (on("write_on", "uevent", data="change"), "ENODEV"),
        (on("read_on", "uevent"), "ENODEV"),
    ),
    does(
        "write nothing to a file kept open over a removal",
        made(),
        (opened(f"{BUS}/{ONE}/migration_version", "rw"), DONE),
        removed(),
        (on("write_on", data=""), "ENODEV"),
        differs=Differs("FUSE does not ask about a write of no bytes: it is done, whatever became of the file", {3: 0}),
    ),
    does(
        "files kept open while the same UUID is made again",
        made(),
        (opened(f"{BUS}/{ONE}/migration_version", "rw"), DONE),
        removed(),
        made(),
        (on("read_on"), "ENODEV"),
    ),
    does(
        "a PCI parent's driver is unbound and bound again",
        made(parent=PCI),
        (opened(f"{type_dir(PCI)}/migration_version", "rw"), DONE),
        (opened(f"{type_dir(PCI)}/create", "w", "create"), DONE),
        (write("/sys/bus/pci/drivers/mdev_lab/unbind", PCI), len(PCI)),
        (names(BUS), []),
        (on("read_on"), "ENODEV"),
        (on("write_on", data=STRING), "ENODEV"),
        (on("write_on", "create", data=TWO), "ENODEV"),
        (read(f"{type_dir(PCI)}/name"), "ENOENT"),
        (entry(f"{PATHS[PCI]}/driver"), "ENOENT"),
        (write("/sys/bus/pci/drivers/mdev_lab/unbind", PCI), "ENODEV"),
        (write("/sys/bus/pci/drivers/mdev_lab/bind", PCI), len(PCI)),
        (write("/sys/bus/pci/drivers/mdev_lab/bind", PCI), "EBUSY"),
        (write("/sys/bus/pci/drivers/mdev_lab/bind", "nothing"), "ENODEV"),
        (read(f"{type_dir(PCI)}/available_instances"), "4\n"),
    ),
    does(
        "a driver that is unbound waits for who holds an instance",
        made(),
        made(TWO),
        (turn("hold", TWO), DONE),
        (start(write("/sys/bus/platform/drivers/mdev_lab/unbind", PLATFORM)), DONE),
        (until(f"/sys/class/mdev_bus/{PLATFORM}", False), DONE),
        (until(f"{BUS}/{TWO}", False), DONE),
        (awaited(0.5), "waits"),
        (names(BUS), ANY),
        (names("/sys/class/mdev_bus"), ANY),
        (names(f"{PATHS[PLATFORM]}/mdev_supported_types"), ANY),
        (names(f"{PATHS[PLATFORM]}/{TWO}"), ANY),
        (entry(f"{PATHS[PLATFORM]}/driver"), ANY),
        (read(f"{type_dir()}/available_instances"), ANY),
        (read(VERSION), ANY),
        (write(CREATE, THREE), ANY),
        (turn("release"), DONE),
        (awaited(), len(PLATFORM)),
        (write("/sys/bus/platform/drivers/mdev_lab/bind", PLATFORM), len(PLATFORM)),
    ),
    does(
        "a platform parent's driver is unbound",
        made(),
        (write("/sys/bus/platform/drivers/mdev_lab/unbind", PLATFORM), len(PLATFORM)),
        (names("/sys/class/mdev_bus"), ANY),
        (read(f"{PATHS[PLATFORM]}/uevent"), ANY),
        (write("/sys/bus/platform/drivers/mdev_lab/bind", PLATFORM), len(PLATFORM)),
    ),
    does(
        "a PCI parent is unplugged and found again",
        made(parent=PCI),
        (opened(f"{BUS}/{ONE}/migration_version"), DONE),
        (write(f"{PATHS[PCI]}/remove", "1"), 1),
        (names(BUS), []),
        (on("read_on"), "ENODEV"),
        (entry(PATHS[PCI]), "ENOENT"),
        (entry(f"/sys/bus/pci/devices/{PCI}"), "ENOENT"),
        (write("/sys/bus/pci/rescan", "1"), 1),
        (read(f"{type_dir(PCI)}/available_instances"), "4\n"),
    ),
)

MODULE = "/sys/module/mdev_lab"
UNLOADED = (
    does(
        "the driver is unloaded with all that it has, and loaded again",
        made(),
        made(TWO, PCI),
        (opened(VERSION, "rw"), DONE),
        (opened(CREATE, "w", "create"), DONE),
        (opened(f"{BUS}/{ONE}/migration_version", "rw", "version"), DONE),
        (opened(f"{BUS}/{TWO}/remove", "w", "remove"), DONE),
        (on("read_on"), f"{STRING}\n"),
        (read(f"{MODULE}/refcnt"), "0\n"),
        (turn("unload"), DONE),
        (names(BUS), []),
        (names("/sys/bus/mdev/drivers"), []),
        (names("/sys/class/mdev_bus"), []),
        (names("/sys/class/vfio"), []),
        (names("/sys/class/vfio-dev"), []),
        (entry(MODULE), "ENOENT"),
        (entry(PATHS[PLATFORM]), "ENOENT"),
        (entry("/sys/bus/platform/drivers/mdev_lab"), "ENOENT"),
        (entry("/sys/bus/pci/drivers/mdev_lab"), "ENOENT"),
        (entry(f"{PATHS[PCI]}/driver"), "ENOENT"),
        (entry(f"{PATHS[PCI]}/mdev_supported_types"), "ENOENT"),
        (read(f"{PATHS[PCI]}/vendor"), "0x1234\n"),
        (on("read_on"), "ENODEV"),
        (on("write_on", data=STRING), "ENODEV"),
        (on("write_on", "create", data=THREE), "ENODEV"),
        (on("read_on", "version"), "ENODEV"),
        (on("write_on", "remove", data="1"), "ENODEV"),
        (turn("unload"), "ENOENT"),
        (turn("load"), DONE),
        (on("read_on"), "ENODEV"),
        (on("write_on", "create", data=THREE), "ENODEV"),
        (names(BUS), []),
        (read(f"{type_dir()}/available_instances"), "4\n"),
        (read(f"{type_dir(PCI)}/available_instances"), "4\n"),
        made(),
    ),
    does(
        "the driver stays loaded as long as an instance is held",
        made(),
        made(TWO, PCI),
        (turn("hold", TWO), DONE),
        (read(f"{MODULE}/refcnt"), "1\n"),
        (turn("unload"), "EAGAIN"),
        (names(BUS), [ONE, TWO]),
        (read(VERSION), f"{STRING}\n"),
        made(THREE),
        (turn("release"), DONE),
        removed(TWO),
        (read(f"{MODULE}/refcnt"), "0\n"),
        (turn("unload"), DONE),
        (names(BUS), []),
        (turn("load"), DONE),
    ),
    does(
        "a removal that waits for a holder keeps the driver loaded, too",
        made(),
        (turn("hold", ONE), DONE),
        *LEAVING,
        (turn("unload"), "EAGAIN"),
        (read(VERSION), f"{STRING}\n"),
        (turn("release"), DONE),
        (awaited(), 1),
    ),
    does(
        "a driver that is unloaded waits for who makes an instance",
        (turn("bind_delay", PLATFORM, 2000), DONE),
        (start(write(CREATE, ONE)), DONE),
        (until(f"{BUS}/{ONE}", True), DONE),
        (start(turn("unload"), "rmmod"), DONE),
        (until(f"{PATHS[EXCLUSIVE]}", False), DONE),
        (awaited(0.3, "rmmod"), "waits"),
        (names(BUS), [ONE]),
        (names("/sys/class/mdev_bus"), ANY),
        (entry(f"{PATHS[PLATFORM]}/driver"), ANY),
        (read(VERSION), ANY),
        (write(CREATE, TWO), "ENODEV"),
        (awaited(), 36),
        (awaited(name="rmmod"), DONE),
        (names(BUS), []),
        (turn("load"), DONE),
    ),
)
"""Before anything in the table changes the order in which parents are found: it decides which models they get."""

NOBODY = (
    does(
        "what somebody without rights may do",
        made(),
        *(
            (as_nobody(step), answer)
            for step, answer in (
                (read(VERSION), f"{STRING}\n"),
                (write(VERSION, STRING), "EACCES"),
                (read(f"{BUS}/{ONE}/migration_version"), f"{STRING}\n"),
                (write(f"{BUS}/{ONE}/migration_version", STRING), "EACCES"),
                (write(CREATE, TWO), "EACCES"),
                (read(CREATE), "EACCES"),
                (write(f"{BUS}/{ONE}/remove", "1"), "EACCES"),
                (write(f"{BUS}/{ONE}/uevent", "change"), "EACCES"),
                (read(f"{type_dir()}/available_instances"), "3\n"),
                (names(BUS), [ONE]),
                (change("mkdir", f"{type_dir()}/new"), ANY),
                (change("unlink", f"{type_dir()}/name"), ANY),
                (change("truncate", VERSION), "EACCES"),
            )
        ),
    ),
)

ROWS = (*UNLOADED, *READS, *STRANGE, *WRITES, *RULES, *UEVENTS, *CREATES, *REMOVES, *HELD, *GONE, *NOBODY)
