# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps in the life of one mediated device: find, create, configure, ask, remove.

What happened is read from sysfs afterwards and never taken from an errno: drivers choose those freely, report errors
for devices that exist, and the reverse. Sources: drivers/vfio/mdev/mdev_sysfs.c and mdev_core.c,
Documentation/driver-api/vfio-mediated-device.rst.

This file is private to the collection.
"""

from __future__ import annotations

import dataclasses
import posixpath
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import (
    _devices,
    _mdevctl,
    _probe,
    _reader,
    _sysfs,
    _udev,
    _workloads,
)
from ansible_collections.vfio.migration.plugins.module_utils._claims import Claims
from ansible_collections.vfio.migration.plugins.module_utils._guard import HUNG, LATE, Outcome, WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._model import Holder, Name
from ansible_collections.vfio.migration.plugins.module_utils._order import Wish
from ansible_collections.vfio.migration.plugins.module_utils._sysfs import Question

_DEVICES = "bus/mdev/devices"
_REMOVE_RETRIES = 5
_REMOVE_PAUSE = 0.1

HANDLERS = {**_sysfs.HANDLERS, **_udev.HANDLERS, **_workloads.HANDLERS, **_mdevctl.HANDLERS}


class MdevError(Exception):
    """Why something was not done: a stable reason code, a sentence that says what failed, why, and what to do."""

    def __init__(self, reason: str, sentence: str, holders: t.Sequence[Holder] = ()) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
        self.holders = list(holders)


@dataclasses.dataclass(frozen=True)
class Found:
    """An instance as it is. ``type`` is null as long as the kernel does not say."""

    uuid: Name
    path: str
    parent: Name
    type: t.Optional[Name]

    @property
    def group(self) -> str:
        """Whose driver answers for it."""
        return posixpath.dirname(self.path)

    def __str__(self) -> str:
        return "instance %s (%s on %s)" % (self.uuid, self.type or "type unknown", self.parent)


class Mdevs:
    """All that is done to the instances of one host. ``bind_timeout``: seconds that a driver has to make an instance,
    to bind it, or to register its parent."""

    def __init__(self, reader: _reader.Reader, bind_timeout: float, claims: Claims) -> None:
        self.reader = reader
        self.sysfs = reader.sysfs
        self.bind_timeout = bind_timeout
        self.claims = claims
        self._waited_for: t.Set[str] = set()
        self._directories: t.Dict[t.Tuple[str, str], str] = {}
        self._free: t.Dict[str, t.List[Found]] = {}
        self._kept: t.Optional[t.Set[str]] = None
        self._paths: t.Dict[str, str] = {}
        """Where an instance was; the same UUID is most likely there still."""
        self._looked: t.Dict[str, t.Optional[Found]] = {}
        self._bound: t.Set[Found] = set()
        self._left: t.Dict[str, t.Tuple[str, Outcome]] = {}
        """By parent: the type that was made there last, and for how many more there was room right after that."""

    # -------------------------------------------------------------------------------------------------- looking

    def look_for(self, uuids: t.Sequence[str]) -> None:
        """Look for many at once. What is seen is good for one ``find`` each, until an instance is made or removed or
        time is let pass; what cannot be told now is left to that. Whoever is still at work on one (``claims``) has to
        be waited for before."""
        self._looked = {uuid: found for uuid, found in self._looked.items() if uuid not in uuids}
        try:
            paths = {uuid: self._paths[uuid] for uuid in uuids if uuid in self._paths}
            listing = self.sysfs.list([("host", _DEVICES)])[0] if len(paths) < len(uuids) else _sysfs.MISSING
            if listing.state == "done":
                there = frozenset(listing.value)
                self._looked.update((uuid, None) for uuid in uuids if uuid not in paths and uuid not in there)
                new = [uuid for uuid in uuids if uuid not in paths and uuid in there]
                links = self.sysfs.links([("host", "%s/%s" % (_DEVICES, uuid)) for uuid in new])
                paths.update((uuid, link.value) for uuid, link in zip(new, links) if link.state == "done")
            types = _devices.mdev_types(self.reader, [(posixpath.dirname(path), path) for path in paths.values()])
            found = [self._found(uuid, paths[uuid], type_id) for uuid, type_id in zip(paths, types) if type_id]
            self._looked.update((one.uuid, one) for one in found)
        except WorkerError:
            # The next operation gets a new process.
            self.reader.guard.close()

    def look_anew(self) -> None:
        """Do not rely on what was seen before."""
        self._looked = {}

    def _found(self, uuid: str, path: str, type_id: t.Optional[Name]) -> Found:
        self._paths[uuid] = path
        return Found(Name(uuid), path, Name(posixpath.basename(posixpath.dirname(path))), type_id)

    def find(self, uuid: str) -> t.Optional[Found]:
        """The instance of this UUID; null when there is none, whoever its parent might be."""
        if uuid in self._looked:
            return self._looked.pop(uuid)
        link = self.sysfs.links([("host", "%s/%s" % (_DEVICES, uuid))])[0]
        if link.errno in _sysfs.VANISHED:
            return None
        if link.state != "done":
            raise _unreadable("instance %s" % uuid, link)
        path: str = link.value
        parent = posixpath.dirname(path)
        type_id = _devices.mdev_types(self.reader, [(parent, path)])[0]
        if type_id is None and self.sysfs.exists([(parent, path)])[0].errno in _sysfs.VANISHED:
            return None
        return self._found(uuid, path, type_id)

    def type_directory(self, parent: str, type_id: str, wait: bool) -> str:
        """Directory of a type below its parent. With ``wait``, a parent that has not registered yet (its driver is
        still starting) is given time. Raises ``MdevError``."""
        if (parent, type_id) in self._directories:
            return self._directories[parent, type_id]
        path = "class/mdev_bus/" + parent
        found = [_sysfs.MISSING]

        def there() -> bool:
            found[0] = self.sysfs.links([("host", path)])[0]
            return found[0].errno not in _sysfs.VANISHED

        if not there() and wait and parent not in self._waited_for:
            self._waited_for.add(parent)
            self._wait_until(there)
        if found[0].errno in _sysfs.VANISHED:
            raise MdevError(
                "no_parent",
                "parent %s offers no mediated devices on this host; look whether its driver is loaded" % parent,
            )
        if found[0].state != "done":
            raise _unreadable("parent %s" % parent, found[0])
        directory = "%s/mdev_supported_types/%s" % (found[0].value, type_id)
        exists = self.sysfs.exists([(found[0].value, directory)])[0]
        if exists.errno in _sysfs.VANISHED:
            raise MdevError("no_type", "parent %s does not offer the type %s (any more)" % (parent, type_id))
        if exists.state != "done":
            raise _unreadable("type %s of parent %s" % (type_id, parent), exists)
        self._directories[parent, type_id] = directory
        return directory

    def room(self, directory: str) -> t.Optional[int]:
        """How many more instances fit; null when the driver does not say. Raises ``MdevError`` when it hangs."""
        group = posixpath.dirname(posixpath.dirname(directory))
        known, outcome = self._left.pop(group, ("", LATE))
        if known != directory or outcome.state != "done":
            outcome = self.sysfs.read([(group, directory + "/available_instances")])[0]
        if outcome.state in ("hung", "deadline"):
            raise _unreadable(posixpath.basename(group), outcome)
        return _reader.number(outcome)

    def free(self, directory: str) -> t.List[Found]:
        """Instances of a type that nobody holds, as far as that can be known, and nobody had mdevctl define, in the
        order of their UUIDs; looked for once. Raises ``MdevError``."""
        if directory not in self._free:
            self._free[directory] = self._look_for_free(directory)
        return self._free[directory]

    def _kept_by_mdevctl(self) -> t.Set[str]:
        """Whoever defined an instance means to use it again. Raises ``MdevError``."""
        if self._kept is None:
            try:
                self._kept = {uuid for _parent, uuid in _mdevctl.definitions(self.reader.guard)}
            except _mdevctl.NoMdevctlError:
                self._kept = set()
            except _mdevctl.MdevctlError as exc:
                raise MdevError("mdevctl", "which instances are free cannot be told: %s" % exc) from None
        return self._kept

    def _look_for_free(self, directory: str) -> t.List[Found]:
        group = posixpath.dirname(posixpath.dirname(directory))
        listing = self.sysfs.list([(group, directory + "/devices")])[0]
        names = listing.value if listing.state == "done" else []
        kept = self._kept_by_mdevctl() if names else set()
        self.look_for(names)
        instances = [instance for instance in map(self.find, names) if instance is not None]
        instances = [instance for instance in instances if instance.uuid not in kept]
        held, complete = self.holders(instances)
        return [instance for instance in instances if complete and not held.get(instance.uuid)]

    def users(self) -> _workloads.Users:
        """Who may hold a device now, and whether that is all."""
        options = self.reader.options
        return _workloads.users(options.proc_root, options.libvirt_roots, self.reader.guard)

    def holders(
        self, instances: t.Sequence[Found], users: t.Optional[_workloads.Users] = None
    ) -> t.Tuple[t.Dict[str, t.List[Holder]], bool]:
        """Who holds which instance (now, or among ``users``), and whether nobody can have been overlooked."""
        items = [(instance.group, instance.path) for instance in instances]
        groups, cdevs, drivers = self.sysfs.sweeps(
            items, ("link", "iommu_group"), ("list", "vfio-dev"), ("link", "driver")
        )
        keys, complete = [], True
        for instance, group, cdev, driver in zip(instances, groups, cdevs, drivers):
            # Once bound it has a name below /dev/vfio; whoever holds one without cannot be seen.
            name = posixpath.basename(group.value or "")
            complete = complete and (bool(name) or bool(cdev.value) or driver.errno in _sysfs.VANISHED)
            complete = complete and (cdev.state == "done" or cdev.errno in _sysfs.VANISHED)
            number = int(name) if name.isdigit() else None
            keys.append(_workloads.DeviceKey(instance.uuid, number, list(cdev.value or ())))
        users = users or self.users()
        found = _workloads.match(keys, users.processes, users.complete, users.domains)
        return found.holders, complete and not found.unsure

    # ------------------------------------------------------------------------------------------------- creating

    def create(self, wish: Wish, directory: str) -> Found:
        """Make an instance that is not there yet. Raises ``MdevError``; whether it exists all the same has to be looked
        at then, except for ``conflict``: that one is somebody else's."""
        group = posixpath.dirname(posixpath.dirname(directory))
        path = "%s/%s" % (group, wish.uuid)
        self.look_anew()
        # Some drivers read the last character as a line's end, as echo writes it.
        outcome, *signs, room = self.sysfs.write_once(
            group,
            directory + "/create",
            wish.uuid.encode("ascii") + b"\n",
            self.claims.of(wish.uuid),
            self.bind_timeout,
            [*_signs(path, wish), ("read", group, directory + "/available_instances")],
        )
        found: t.Optional[Found] = None
        if outcome.state == "done" and all(sign.state == "done" for sign in signs):
            found = self._found(wish.uuid, path, Name(posixpath.basename(signs[0].value)))
            self._bound.add(found)
            self._left[group] = (directory, room)
        else:
            self._left.pop(group, None)
            if outcome.errno_name == "EEXIST":
                self._await(wish.uuid)
            found = self.find(wish.uuid)
        if outcome.errno_name == "EEXIST" and found is not None:
            raise MdevError("conflict", "%s: somebody else made %s at the same moment; run again" % (wish, found))
        if found is None:
            raise self._not_created(wish, directory, outcome)
        if outcome.state not in ("done", "errno"):
            raise _unreadable(str(wish), outcome, "bind_timeout")
        # The type is told a moment later than the device itself; await_bound waits for that.
        if (found.parent, found.type or wish.type) != (wish.parent, wish.type):
            raise MdevError("conflict", "%s: there is %s instead" % (wish, found))
        return found

    def _not_created(self, wish: Wish, directory: str, outcome: Outcome) -> MdevError:
        """Capacity that ran out has no one errno, so the state tells."""
        if outcome.state in ("hung", "deadline"):
            return _unreadable(str(wish), outcome, "bind_timeout")
        if self.sysfs.exists([(posixpath.dirname(directory), directory)])[0].errno in _sysfs.VANISHED:
            return MdevError("gone", "%s was not created: the parent or its type went away" % wish)
        try:
            if self.room(directory) == 0:
                return no_room(wish)
        except MdevError as problem:
            return problem
        if outcome.state == "done":
            return MdevError(
                "not_created", "%s was not created although the driver took it; look at the kernel log" % wish
            )
        if outcome.errno_name == "EEXIST":
            return MdevError(
                "busy",
                "%s was not created: an instance of this UUID is still being removed, for as long as somebody holds "
                "it; end that, and run again" % wish,
            )
        if outcome.errno in _sysfs.DENIED:
            return MdevError(
                "permission",
                "%s was not created: %s; run with become: true, and if it ran as root look at the kernel log, because "
                "drivers answer that, too" % (wish, outcome.errno_name),
            )
        return MdevError(
            "errno",
            "%s was not created: the driver answered %s, which it chooses freely; look at the kernel log"
            % (wish, outcome.errno_name),
        )

    def _await(self, uuid: str) -> None:
        """Give the driver time to show an instance that it is at work on."""
        link = ("host", "%s/%s" % (_DEVICES, uuid))

        def there() -> bool:
            return self.sysfs.links([link])[0].state == "done"

        self._wait_until(there)

    def _wait_until(self, done: t.Callable[[], bool]) -> bool:
        """For as long as a driver may take. It, or mdevctl, may show any instance meanwhile."""
        self.look_anew()
        return _udev.wait_until(done, self.bind_timeout, self.reader.options.sysfs_root, self.reader.guard)

    def await_bound(self, found: Found, wish: Wish) -> None:
        """Until its driver has it and its attributes are there. Raises ``MdevError``."""
        if found in self._bound:
            self._bound.remove(found)
            return
        nodes = _signs(found.path, wish)

        def bound() -> bool:
            return all(outcome.state == "done" for outcome in self.sysfs.ask(nodes))

        if self._wait_until(bound):
            return
        missing = [
            posixpath.basename(node)
            for (_kind, _group, node), outcome in zip(nodes, self.sysfs.ask(nodes))
            if outcome.state != "done"
        ]
        if self.find(found.uuid) is None:
            raise MdevError("gone", "%s went away while it was waited for" % wish)
        if "driver" in missing or "mdev_type" in missing:
            raise MdevError(
                "not_bound",
                "%s: no driver bound it within %g s; raise bind_timeout if the driver is only slow"
                % (wish, self.bind_timeout),
            )
        raise MdevError("attribute", "%s has no attribute %s" % (wish, ", ".join(missing)))

    def configure(self, found: Found, wish: Wish) -> None:
        """Write the attributes, each with one write, in their order. Raises ``MdevError``."""
        claim = self.claims.of(found.uuid)
        for attribute in wish.attributes:
            data = attribute["value"].encode("utf-8")
            outcome = self.sysfs.write_once(found.group, "%s/%s" % (found.path, attribute["name"]), data, claim)[0]
            if outcome.state == "done" and outcome.value == len(data):
                continue
            if outcome.state in ("hung", "deadline"):
                raise _unreadable("%s: attribute %s" % (wish, attribute["name"]), outcome)
            raise MdevError(
                "attribute",
                "%s: attribute %s did not take %r: %s; correct it in the plan"
                % (wish, attribute["name"], attribute["value"], outcome.errno_name or outcome.state),
            )

    def ask(self, found: Found, wish: Wish) -> None:
        """Whether the new device accepts what its source says. Raises ``MdevError`` unless it does."""
        if wish.accepts is None:
            return
        result = _probe.ask_device(self.reader, found.group, found.path, wish.accepts)
        if result.verdict == "incompatible":
            raise MdevError(
                "inconsistent",
                "%s: the device refuses its source (%s) although its type may have accepted it, which is to be "
                "reported to the driver's vendor; plan again, without this parent" % (wish, result.errno),
            )
        if result.reason == "absent":
            raise MdevError(
                "absent",
                "%s: the device has no migration_version, so nobody can tell whether it accepts its source; plan "
                "again, without this parent" % wish,
            )
        if result.verdict != "compatible":
            raise MdevError(
                result.reason or "unknown",
                "%s: the device did not say that it accepts its source: %s; look at the kernel log"
                % (wish, result.errno or result.reason),
            )

    # ------------------------------------------------------------------------------------------------- removing

    def check_free(self, found: Found, users: t.Optional[_workloads.Users] = None) -> None:
        """Raises ``MdevError`` when somebody holds it (now, or among ``users``), or when nobody can tell."""
        users = users or self.users()
        held, complete = self.holders([found], users)
        by = held.get(found.uuid, [])
        if by:
            raise MdevError("in_use", "%s is held by %s" % (found, _held_by(by)), by)
        if found.group in self.reader.guard.hung_groups or not self.reader.guard.time_left:
            raise _unreadable(str(found), HUNG if self.reader.guard.time_left else LATE)
        if not complete and found.type is None:
            raise MdevError("busy", "%s is still being made, or removed, by its driver; run again later" % found)
        if not complete:
            raise MdevError("holders", "%s may be in use: %s" % (found, _overlooked(users)))

    def remove(self, found: Found) -> None:
        """Take an instance away. The kernel blocks, beyond recovery, on the removal of a device in use, so each write
        is preceded by a look at who holds it. Raises ``MdevError``; it may be gone all the same."""
        outcome = _sysfs.MISSING
        for attempt in range(_REMOVE_RETRIES):
            if attempt:
                self.reader.guard.pause(_REMOVE_PAUSE)
            self.check_free(found)
            self.look_anew()
            self._left.pop(found.group, None)
            # It is off its bus before its driver lets go of it: only when its directory is gone, it is.
            directory: Question = ("stat", "host", found.path)
            outcome, left = self.sysfs.write_once(
                found.group, found.path + "/remove", b"1\n", self.claims.of(found.uuid), self.bind_timeout, [directory]
            )
            if left.errno in _sysfs.VANISHED:
                return
            # EAGAIN: still being created, or being removed. Most kernels have taken the file away by then.
            if outcome.errno not in _sysfs.TRANSIENT:
                break
        if outcome.state in ("hung", "deadline"):
            raise _unreadable(str(found), outcome, "bind_timeout")
        if outcome.errno in _sysfs.VANISHED:
            raise MdevError(
                "not_removed",
                "%s was not removed: its file remove is gone, as somebody wrote to it before; if it does not go by "
                "itself, end whoever holds it, or unbind the parent's driver" % found,
            )
        reason = "busy" if outcome.errno in _sysfs.TRANSIENT else "not_removed"
        answer = outcome.errno_name or "the driver took it, and it is still there"
        raise MdevError(reason, "%s was not removed: %s; look at the kernel log and run again" % (found, answer))


def _signs(path: str, wish: Wish) -> t.List[Question]:
    """What is there once the driver is done with an instance; its type comes first."""
    group = posixpath.dirname(path)
    signs: t.List[Question] = [("link", group, path + "/mdev_type"), ("link", group, path + "/driver")]
    signs += [("stat", group, "%s/%s" % (path, attribute["name"])) for attribute in wish.attributes]
    return signs


def _held_by(holders: t.Sequence[Holder]) -> str:
    """Each by name, and what frees the device of it."""
    names = [
        one["command"] if one["pid"] is None else "%s (process %d, %s)" % (one["command"], one["pid"], one["workload"])
        for one in holders
    ]
    advice = "end that first" if any(one["pid"] is not None for one in holders) else "take it out of there first"
    return "%s; to free it, %s" % (", ".join(names), advice)


def _overlooked(users: _workloads.Users) -> str:
    """Why a holder may not have been seen, and what to do."""
    if users.unread:
        what = "%s, which names libvirt's domains, could not be read, or made sense of" % ", ".join(users.unread)
        return what + "; run with become: true, and check it with virt-xml-validate"
    return "not every process and every node that leads to it could be looked at; run with become: true"


def no_room(wish: Wish) -> MdevError:
    return MdevError(
        "no_room", "%s was not created: the parent has no room left for this type; gather facts and plan again" % wish
    )


def _unreadable(what: str, outcome: Outcome, limit: str = "read_timeout") -> MdevError:
    """``limit``: the option that says how long was waited."""
    if outcome.state in ("hung", "deadline"):
        waited = limit if outcome.state == "hung" else "deadline"
        sentence = "the driver did not answer within %s; it, and all else of its parent, was left alone" % waited
        return MdevError(outcome.state, "%s: %s; look at the kernel log of the host" % (what, sentence))
    reason = _reader.reason(outcome) if outcome.state != "done" else "errno"
    detail = _reader.DETAILS.get(reason, "").rstrip(".")
    return MdevError(reason, "%s: %s: %s" % (what, outcome.errno_name or outcome.state, detail))
