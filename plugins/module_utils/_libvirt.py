# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is known of libvirt: its domains (from libvirt itself, and from its files), and their XML.

Libvirt is asked in a child process of its own, so that neither a daemon that does not answer nor a binding that breaks
costs more than its own answer. Sources: https://libvirt.org/formatdomain.html,
https://libvirt.org/html/libvirt-libvirt-domain.html, https://libvirt.org/drvtest.html.

This file is private to the collection.
"""

from __future__ import annotations

import os
import re
import typing as t

if t.TYPE_CHECKING:
    from xml.etree.ElementTree import Element

from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Handler, Op, Outcome, WorkerError

DEFAULT_URI = "qemu:///system"
"""The one whose domains are in the files."""

_PATIENCE = 5.0
"""Seconds for connecting: a daemon that is started by its socket first looks for all domains that run."""
_NAME_LENGTH = 256
_SAID_LENGTH = 300
_DOMAIN_BYTES = 4 << 20
_MOST_DOMAINS = 10000
_ADDRESS = "hostdev/source/address"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_UUID_VALUE = re.compile(rb"""\buuid\s*=\s*(["'])([^"'<>]*)\1""")
_NOBODY = ("ENOENT", "ECONNREFUSED")
_DENIED = ("EACCES", "EPERM")


class Domain(t.NamedTuple):
    """A VM that libvirt knows. ``running``: these are the devices it has now, not those of its next start."""

    name: str
    uuid: str
    devices: t.List[str]
    """UUIDs of mdevs and PCI addresses, in lower case."""
    running: bool = False


class Asked(t.NamedTuple):
    """What libvirt answered.

    problem: why it could not be asked, null when it could. Stable code: ``no_binding``, ``nobody`` (nothing listens),
    ``denied``, ``hung``, ``refused``. said: in libvirt's own words, as far as there are any.
    """

    domains: t.List[Domain]
    problem: t.Optional[str] = None
    said: str = ""
    complete: bool = True
    """Whether every domain could be read."""


# ------------------------------------------------------------------------------------------------------- domain XML


def parse_domain(data: bytes) -> Domain:
    """Read libvirt's XML of a domain or of its state. Raises ``ValueError`` or ``ParseError``, a ``SyntaxError``.
    Imported here, in the child: hosts without libvirt need no parser, and it takes long to load."""
    import xml.etree.ElementTree as ET

    text = data.decode("utf-8")
    # Libvirt writes none, and only there could entities be declared that grow without end.
    if "<!DOCTYPE" in text:
        raise ValueError("has a document type")
    root = ET.fromstring(text)
    domain = root.find("domain") if root.tag == "domstatus" else root
    if domain is None or domain.tag != "domain":
        raise ValueError("is no domain")
    name, uuid = ((domain.findtext(key) or "").strip()[:_NAME_LENGTH] for key in ("name", "uuid"))
    if not name or not uuid:
        raise ValueError("names no domain")
    devices = {_source_name(address) for address in domain.iterfind("devices/*/source/address")}
    return Domain(name, uuid.lower(), sorted(device for device in devices if device), root.tag == "domstatus")


def _source_name(address: Element) -> t.Optional[str]:
    """An mdev's UUID or a PCI address of the host; null for what is neither (USB, SCSI). Raises ``ValueError``."""
    if address.get("uuid"):
        return address.get("uuid", "").lower()
    if address.get("slot") is None:
        return None
    numbers = tuple(int(address.get(key, "0"), 0) for key in ("domain", "bus", "slot", "function"))
    return "%04x:%02x:%02x.%x" % numbers


def is_mdev(device: str) -> bool:
    """Whether a device that a domain names is an mdev, not an address."""
    return _UUID.match(device) is not None


def swap_mdevs(data: bytes, swaps: t.Mapping[str, str]) -> bytes:
    """A domain's XML with other mdevs: old UUID -> new UUID. All else stays byte for byte as libvirt wrote it.

    Raises ``ValueError`` when an mdev is not there, or is named where only its owner knows how to change it.
    """
    found: t.Set[str] = set()
    result, end = b"", 0
    for start in _mdev_addresses(data):
        value = _UUID_VALUE.search(data, start)
        old = value.group(2).decode("utf-8").lower() if value else ""
        if value and old in swaps:
            found.add(old)
            result += data[end : value.start(2)] + swaps[old].encode("ascii")
            end = value.end(2)
    result += data[end:]
    missing = sorted(set(swaps) - found)
    if missing:
        raise ValueError("does not name the mdev %s" % ", ".join(missing))
    kept = set(swaps.values())
    left = sorted(old for old in swaps if old not in kept and old.encode("ascii") in result.lower())
    if left:
        raise ValueError("names the mdev %s outside of a hostdev, too (in a command line, say)" % ", ".join(left))
    return result


def _mdev_addresses(data: bytes) -> t.List[int]:
    """Where the address tags of mdevs begin. Raises ``ValueError``."""
    from xml.parsers import expat

    parser = expat.ParserCreate()
    path: t.List[str] = []
    found: t.List[int] = []

    def start(name: str, attributes: t.Dict[str, str]) -> None:
        path.append(name)
        if "/".join(path) == "domain/devices/" + _ADDRESS and "uuid" in attributes:
            found.append(parser.CurrentByteIndex)

    def end(_name: str) -> None:
        path.pop()

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as exc:
        raise ValueError("is no XML: %s" % exc) from None
    return found


# ------------------------------------------------------------------------------------------------------------ files


def _domain_files(root: str) -> t.Tuple[t.List[str], bool]:
    """Paths of the domain files, and whether that is all of them."""
    names = sorted(name for name in os.listdir(root) if name.endswith(".xml"))
    return [os.path.join(root, name) for name in names[:_MOST_DOMAINS]], len(names) <= _MOST_DOMAINS


def _domain(path: str) -> t.Optional[t.Tuple[t.Any, ...]]:
    """The domain in a file; null when it cannot be made sense of."""
    # Whatever lies there instead of a file must not keep us waiting.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        data: t.Optional[bytes] = file.read(_DOMAIN_BYTES + 1)
    try:
        return tuple(parse_domain(data)) if data is not None and len(data) <= _DOMAIN_BYTES else None
    except (ValueError, SyntaxError):
        return None


FILE_HANDLERS: t.Dict[str, Handler] = {"domain_files": _domain_files, "domain": _domain}


def from_files(roots: t.Sequence[str], guard: Guard) -> t.Tuple[t.List[Domain], t.List[str]]:
    """All domains in libvirt's files, and the files and folders that could not be read. No libvirt, no domains."""
    found: t.List[Domain] = []
    unread: t.List[str] = []
    for root, listing in zip(roots, guard.run([Op(root, "domain_files", (root,)) for root in roots])):
        if listing.state != "done":
            unread += [] if _absent(listing) else [root]
            continue
        paths, all_listed = listing.value
        unread += [] if all_listed else [root]
        for path, outcome in zip(paths, guard.run([Op(root, "domain", (path,)) for path in paths])):
            if outcome.state == "done" and outcome.value is not None:
                found.append(Domain(*outcome.value))
            elif not _absent(outcome):
                unread.append(os.fsencode(path).decode("utf-8", "backslashreplace"))
    return found, unread


def _absent(outcome: Outcome) -> bool:
    return outcome.errno_name in ("ENOENT", "ENOTDIR")


# ------------------------------------------------------------------------------------- libvirt itself, in the child

_Object = t.Any
"""The binding and what is made of it, which carry no types."""

_Answer = t.Tuple[t.Any, ...]
"""("done", ...), or the code of a problem and what libvirt said."""

_connections: t.Dict[str, _Object] = {}


def _binding() -> _Object:
    """Python's binding of libvirt; null where it, or the library below it, is missing."""
    try:
        import libvirt  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    # It would write every error to standard error as well.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    return libvirt


def _connected(libvirt: _Object, uri: str) -> _Object:
    """One connection for the life of the child."""
    if uri not in _connections:
        _connections[uri] = libvirt.openReadOnly(uri)
    return _connections[uri]


def _list(uri: str) -> _Answer:
    """("done", UUIDs of all domains)."""
    libvirt = _binding()
    if libvirt is None:
        return "no_binding", ""
    try:
        return "done", sorted(domain.UUIDString() for domain in _connected(libvirt, uri).listAllDomains())
    except libvirt.libvirtError as exc:
        return _problem(libvirt, exc)


def _describe(uri: str, uuid: str) -> t.Optional[t.List[_Answer]]:
    """What a domain has now, and what it will have after its next start; null when that cannot be read."""
    libvirt = _binding()
    try:
        domain = _connected(libvirt, uri).lookupByUUIDString(uuid)
        running = bool(domain.isActive())
        texts = [(domain.XMLDesc(), running)]
        if running and domain.isPersistent():
            texts.append((domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), False))
        return [tuple(parse_domain(text.encode("utf-8"))[:3]) + (now,) for text, now in texts]
    except libvirt.libvirtError as exc:
        return [] if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN else None
    except (ValueError, SyntaxError):
        return None


def _problem(libvirt: _Object, exc: _Object) -> _Answer:
    said = _one_line(str(exc))
    code, errno = exc.get_error_code(), exc.get_int1()
    if code == libvirt.VIR_ERR_SYSTEM_ERROR:
        name = Outcome("errno", None, errno).errno_name
        if name in _NOBODY:
            return "nobody", said
        if name in _DENIED:
            return "denied", said
    denied = (libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED, libvirt.VIR_ERR_AUTH_UNAVAILABLE)
    return "denied" if code in denied + (libvirt.VIR_ERR_ACCESS_DENIED,) else "refused", said


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_SAID_LENGTH]


def _export(uri: str, ident: str, swaps: t.List[t.Tuple[str, str]]) -> _Answer:
    """("done", UUID, XML for the target, why it was not validated or null)."""
    libvirt = _binding()
    if libvirt is None:
        return "no_binding", ""
    try:
        # Only reads, but what migrates takes its passwords along, and those are not shown to a read-only connection.
        connection = libvirt.open(uri)
        domain = (connection.lookupByUUIDString if is_mdev(ident) else connection.lookupByName)(ident)
        flags = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_MIGRATABLE
        uuid, text = domain.UUIDString(), domain.XMLDesc(flags)
    except libvirt.libvirtError as exc:
        unknown = exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN
        return ("no_domain", _one_line(str(exc))) if unknown else _problem(libvirt, exc)
    try:
        data = swap_mdevs(text.encode("utf-8"), dict(swaps))
    except ValueError as exc:
        return "devices", str(exc)
    invalid, said = _validate(libvirt, data.decode("utf-8"))
    return ("invalid", said) if invalid else ("done", uuid, data, said)


def _validate(libvirt: _Object, text: str) -> t.Tuple[bool, t.Optional[str]]:
    """Whether libvirt refuses the XML, and why; (false, why) when it cannot tell. Its test driver checks the schema
    of all drivers, and keeps everything in the memory of this process."""
    try:
        connection = libvirt.open("test:///default")
        for domain in connection.listAllDomains():
            # A domain of the same name would be in the way: it comes with one, and an earlier one may be left.
            if domain.isActive():
                domain.destroy()
            domain.undefine()
        connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except libvirt.libvirtError as exc:
        invalid = (libvirt.VIR_ERR_XML_INVALID_SCHEMA, libvirt.VIR_ERR_XML_DETAIL)
        return exc.get_error_code() in invalid, _one_line(str(exc))
    return False, None


HANDLERS: t.Dict[str, Handler] = {"list": _list, "describe": _describe, "export": _export}


# ------------------------------------------------------------------------------------------------- libvirt, guarded


def from_libvirt(uri: str, timeout: float, deadline: float) -> Asked:
    """All domains that libvirt knows. Never raises for anything that libvirt does."""
    with Guard(HANDLERS, timeout, deadline) as guard:
        try:
            listed = guard.run([Op(uri, "list", (uri,), _PATIENCE)])[0]
            if listed.state != "done":
                return Asked([], "hung")
            if listed.value[0] != "done":
                return Asked([], *listed.value)
            outcomes = guard.run([Op(uri, "describe", (uri, uuid)) for uuid in listed.value[1]])
        except WorkerError as exc:
            return Asked([], "refused", str(exc))
    found = [Domain(*one) for outcome in outcomes for one in outcome.value or ()]
    if any(outcome.state != "done" for outcome in outcomes):
        return Asked(found, "hung", complete=False)
    return Asked(found, complete=all(outcome.value is not None for outcome in outcomes))


class Export(t.NamedTuple):
    """A domain's XML for its target. ``reason``: why there is none (stable code), with ``said`` in words; with XML,
    ``said`` is why libvirt could not validate it."""

    uuid: str = ""
    data: bytes = b""
    reason: t.Optional[str] = None
    said: t.Optional[str] = None


def export(uri: str, wishes: t.Sequence[t.Tuple[str, t.Dict[str, str]]], timeout: float) -> t.List[Export]:
    """XML of domains, given by UUID or name, with other mdevs. Never raises for anything that libvirt does."""
    found = []
    for ident, swaps in wishes:
        # A child each: what one domain does to it is no other's business.
        with Guard(HANDLERS, timeout, timeout) as guard:
            try:
                outcome = guard.run([Op(uri, "export", (uri, ident, sorted(swaps.items())))])[0]
            except WorkerError as exc:
                outcome = Outcome("done", ("refused", str(exc)))
        if outcome.state != "done":
            found.append(Export(reason="hung"))
        elif outcome.value[0] == "done":
            found.append(Export(outcome.value[1], outcome.value[2], None, outcome.value[3]))
        else:
            found.append(Export(reason=outcome.value[0], said=outcome.value[1]))
    return found


WHAT_TO_DO = {
    "no_binding": "the Python that Ansible uses on the host has no libvirt binding; install python3-libvirt",
    "nobody": "nobody listens; start libvirt's daemon, or correct libvirt_uri",
    "denied": "it refused us; run with become: true",
    "hung": "it did not answer in time; look at libvirt's daemon, and restart it if it hangs",
    "refused": "it refused; correct libvirt_uri, or look at libvirt's log",
}


def why(problem: str, said: str) -> str:
    """The end of a sentence: cause, then what to do."""
    return "%s%s" % (WHAT_TO_DO[problem], " (%s)" % said if said else "")
