# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build guests: a stock Debian kernel, the test driver, and what a managed host needs. Once for the same inputs."""

from __future__ import annotations

import concurrent.futures
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError

from . import vmlinux

HERE = pathlib.Path(__file__).resolve().parent
CACHE = HERE.parents[2] / ".cache" / "kernel"
PROGRAMS = {
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh": "openssh-client",
    "zstd": "zstd",
}
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"

SUITES = {"6.1": "bookworm", "6.12": "trixie"}
"""Kernel -> the Debian release that has it."""

# Only unpacked: nothing of it ever runs but the compiler.
BUILD_PACKAGES = (
    *("linux-image-amd64", "linux-headers-amd64", "gcc", "make", "libc6-dev", "kmod", "xz-utils"),
    *("coreutils", "dash", "findutils", "grep", "mawk", "sed"),
)
GUEST_PACKAGES = ("busybox-static", "iproute2", "kmod", "openssh-server", "python3", "python3-apt", "udev")
BOOTSTRAP_PACKAGES = ("mdevctl", "python3-pyudev")
"""What the role bootstrap installs; the guest has their files, too, in a repository of its own."""
REPOSITORY = "var/lib/packages"
UNWANTED = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")

BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")
MODULES = (*BOOT_MODULES, "virtio_net", "virtio_rng", "mdev", "vfio", "vfio_iommu_type1", "vfio_pci")
MARGIN_MIB = 96
"""Room in the guest's file system for what tests write."""


class Image(t.NamedTuple):
    """A guest that can be booted."""

    kernel: str
    folder: pathlib.Path

    @property
    def vmlinux(self) -> pathlib.Path:
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> pathlib.Path:
        return self.folder / "initrd.cpio"

    @property
    def root(self) -> pathlib.Path:
        return self.folder / "root.ext4"

    @property
    def user_key(self) -> pathlib.Path:
        return self.folder / "user_key"

    @property
    def host_key(self) -> pathlib.Path:
        """The public one."""
        return self.folder / "host_key.pub"


def missing() -> str | None:
    """One sentence on what keeps this machine from building and running guests, or None."""
    if os.geteuid() != 0:
        return "Guests with a real kernel are built from Debian packages, which needs root: run as root."
    lacking = sorted({package for program, package in PROGRAMS.items() if shutil.which(program, path=PATH) is None})
    if lacking:
        return f"Guests with a real kernel need what this machine lacks: install {' '.join(lacking)}."
    return None


def inputs(kernel: str) -> str:
    """What the image of a kernel is made of, as a hash; but for the packages, which are those of that day."""
    told = hashlib.sha256(kernel.encode())
    sources = [HERE / "image.py", HERE / "vmlinux.py", *(HERE / "driver").iterdir(), *(HERE / "guest").iterdir()]
    for path in sorted(sources):
        told.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return told.hexdigest()[:16]


def image(kernel: str) -> Image:
    """Where the image of a kernel is, or will be."""
    if kernel not in SUITES:
        raise FleetError(f"There is no guest with kernel {kernel}, only with {' and '.join(SUITES)}.")
    return Image(kernel, CACHE / f"{kernel}-{inputs(kernel)}")


def build(kernels: t.Iterable[str]) -> dict[str, Image]:
    """Images of these kernels, built side by side where they are not there yet. Raises FleetError."""
    images = {kernel: image(kernel) for kernel in kernels}
    absent = [one for one in images.values() if not one.folder.exists()]
    if absent:
        problem = missing()
        if problem is not None:
            raise FleetError(problem)
        CACHE.mkdir(parents=True, exist_ok=True)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(_build, absent))
    return images


def _build(wanted: Image) -> None:
    """All or nothing: it is renamed into its place when it is complete. Whoever comes second waits for the first."""
    with (CACHE / f"build-{wanted.kernel}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if wanted.folder.exists():
            return
        # What an older version needed, and what a killed build left.
        for older in CACHE.glob(f"{wanted.kernel}-*"):
            shutil.rmtree(older, ignore_errors=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=f"{wanted.kernel}-", suffix=".part", dir=CACHE))
        try:
            _Builder(wanted.kernel, work).run()
            (work / "image").rename(wanted.folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)


class _Builder:
    def __init__(self, kernel: str, work: pathlib.Path) -> None:
        self.kernel = kernel
        self.suite = SUITES[kernel]
        self.work = work
        self.headers = work / "headers"
        self.guest = work / "guest"
        self.image = work / "image"
        self.image.mkdir()
        self.log = CACHE / f"build-{kernel}.log"
        self.log.write_text("")

    def run(self) -> None:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda install: install(), (self._install_headers, self._install_guest)))
        release = next((self.headers / "usr/src").glob("linux-headers-*-amd64")).name.removeprefix("linux-headers-")
        self._compile(release)
        self._modules(release)
        self._files()
        self._repository()
        self._initrd(release)
        self._root()
        vmlinux.extract(self.headers / f"boot/vmlinuz-{release}", self.image / "vmlinux")

    def _call(self, *words: str | pathlib.Path, cwd: pathlib.Path | None = None) -> str:
        """Output of a command. What it complains of is kept in the log."""
        line = " ".join(map(str, words))
        with self.log.open("a") as log:
            print(f"$ {line}", file=log, flush=True)
            done = subprocess.run(
                [str(word) for word in words],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PATH": PATH, "LC_ALL": "C"},
                check=False,
            )
        if done.returncode:
            last = " ".join(self.log.read_text(errors="replace").strip().splitlines()[-1:])
            raise FleetError(
                f"The guest with kernel {self.kernel} cannot be built: {words[0]} ended with exit code "
                f"{done.returncode} ({last[:200]}); all it said is in {self.log}."
            )
        return done.stdout.decode(errors="replace")

    def _debian(self, into: pathlib.Path, packages: t.Sequence[str], *options: str) -> None:
        # Settings and mirror are this machine's own.
        settings = [f"--aptopt={setting}" for setting in apt_settings(self._call("apt-config", "dump"))]
        targets = ("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages")
        mirror = debian_mirror(self._call(*targets))
        words = ["mmdebstrap", "--quiet", *settings, *options, f"--include={','.join(packages)}"]
        self._call(*words, self.suite, into, *([mirror] if mirror is not None else []))

    def _install_headers(self) -> None:
        merged = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
        self._debian(self.headers, BUILD_PACKAGES, "--variant=extract", merged)

    def _install_guest(self) -> None:
        excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED]
        keep = (
            f'--customize-hook=mkdir -p "$1/{REPOSITORY}" && cd "$1/{REPOSITORY}" && '
            f'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -q download {" ".join(BOOTSTRAP_PACKAGES)}'
        )
        self._debian(self.guest, (*GUEST_PACKAGES, *BOOTSTRAP_PACKAGES), "--variant=minbase", *excluded, keep)

    def _chroot(self, *words: str) -> str:
        return self._call("chroot", self.headers, *words)

    def _compile(self, release: str) -> None:
        """The driver, against the headers of the very kernel that will boot; a warning is an error."""
        (self.headers / "usr/bin/awk").symlink_to("mawk")
        shutil.copytree(HERE / "driver", self.headers / "tmp/driver")
        shutil.copy(HERE / "guest/hold.c", self.headers / "tmp")
        self._chroot("make", "-C", f"/usr/src/linux-headers-{release}", "M=/tmp/driver", "KCFLAGS=-Werror", "modules")
        self._chroot("gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", "/tmp/hold", "/tmp/hold.c")
        self._chroot("depmod", release)

    def _files_of(self, release: str, modules: t.Sequence[str]) -> list[pathlib.Path]:
        """Files of modules and of what they need, in the order in which they are loaded."""
        found: dict[str, None] = {}
        for module in modules:
            for line in self._chroot("modprobe", "-S", release, "--show-depends", module).splitlines():
                if line.startswith("insmod"):
                    found[line.split()[1]] = None
        return [self.headers / path.lstrip("/") for path in found]

    def _modules(self, release: str) -> None:
        """Only those that are needed, and not compressed."""
        folder = self.guest / "usr/lib/modules" / release
        folder.mkdir(parents=True)
        for path in self._files_of(release, MODULES):
            shutil.copy(path, folder)
            if path.suffix == ".xz":
                self._call("xz", "-d", folder / path.name)
        shutil.copy(self.headers / "tmp/driver/mdev_lab.ko", folder)
        for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
            shutil.copy(self.headers / "usr/lib/modules" / release / name, folder)
        self._call("chroot", self.guest, "depmod", release)

    def _files(self) -> None:
        etc = self.guest / "etc"
        for name in ("inittab", "rc"):
            shutil.copy(HERE / "guest" / name, etc)
        (etc / "rc").chmod(0o755)
        shutil.copy(self.headers / "tmp/hold", self.guest / "usr/local/bin/qemu-system-hold")
        shutil.copy(HERE / "guest/lab-anew", self.guest / "usr/local/bin")
        (self.guest / "usr/local/bin/lab-anew").chmod(0o755)
        for name in ("init", "poweroff", "reboot"):
            (self.guest / "usr/sbin" / name).unlink(missing_ok=True)
            (self.guest / "usr/sbin" / name).symlink_to("../bin/busybox")
        for path in (etc / "ssh").glob("ssh_host_*"):
            path.unlink()
        shutil.copy(HERE / "guest/sshd_config", etc / "ssh")
        for name in ("user_key", "host_key"):
            self._call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f", self.image / name)
        shutil.move(self.image / "host_key", etc / "ssh")
        shutil.copy(self.image / "user_key.pub", etc / "ssh")

    def _repository(self) -> None:
        """The one that apt in the guest knows: it has no network, and the role bootstrap shall install for real."""
        folder = self.guest / REPOSITORY
        entries = []
        for path in sorted(folder.glob("*.deb")):
            fields = self._call("dpkg-deb", "--field", path).strip()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            entries.append(f"{fields}\nFilename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {digest}\n")
        (folder / "Packages").write_text("\n".join(entries))
        apt = self.guest / "etc/apt"
        for path in (*apt.glob("sources.list*"), *apt.glob("apt.conf.d/*mmdebstrap*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (apt / "sources.list").write_text(f"deb [trusted=yes] file:/{REPOSITORY} ./\n")

    def _initrd(self, release: str) -> None:
        tree = self.work / "initrd"
        for name in ("bin", "dev", "mnt", "modules", "proc", "sys"):
            (tree / name).mkdir(parents=True)
        shutil.copy(HERE / "guest/init", tree)
        (tree / "init").chmod(0o755)
        shutil.copy(self.guest / "usr/bin/busybox", tree)
        (tree / "bin/sh").symlink_to("../busybox")
        for number, path in enumerate(self._files_of(release, BOOT_MODULES)):
            name = path.name.removesuffix(".xz")
            shutil.copy(self.guest / "usr/lib/modules" / release / name, tree / "modules" / f"{number:02}-{name}")
        with (self.image / "initrd.cpio").open("wb") as file:
            names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
            words = ["cpio", "--quiet", "-o", "-H", "newc"]
            subprocess.run(words, input=names.encode(), stdout=file, cwd=tree, check=True)

    def _root(self) -> None:
        used = int(self._call("du", "-s", "-B", "1M", self.guest).split()[0])
        size = f"{used * 11 // 10 + MARGIN_MIB}M"
        self._call("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", self.guest, self.image / "root.ext4", size)


def apt_settings(dump: str) -> list[str]:
    """Of ``apt-config dump``, how this machine reaches its mirrors."""
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")
    return [line.strip() for line in dump.splitlines() if line.startswith(wanted) and '""' not in line]


def debian_mirror(targets: str) -> str | None:
    """Of the lines ORIGIN|LABEL|URI of ``apt-get indextargets``, the mirror of Debian itself, if there is one."""
    lines = (line.split("|", 2) for line in targets.splitlines())
    return next((uri for origin, label, uri in lines if (origin, label) == ("Debian", "Debian")), None)
