# SPDX-License-Identifier: Apache-2.0
"""Everything the lab's machine is made of, made once and kept in a folder.

QEMU comes from Debian 13 and runs through the dynamic loader of its own
release; the kernel and the guest's tools come from the release that this
machine runs, because the guest shares this machine's root file system.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.lab import images, packages
from tools.lab.errors import LabError
from tools.lab.process import run, say

RECIPE = 1
"""Raised whenever what is prepared changes shape: old caches are redone."""

QEMU_RELEASE = 'trixie'
TOOLS = (
    'qemu-system-x86',
    'e2fsprogs',
    'libarchive13t64',
    'kmod',
    'busybox-static',
)
GUEST_PACKAGES = (
    'bash',
    'coreutils',
    'ethtool',
    'iproute2',
    'iputils-ping',
    'kmod',
    'pciutils',
    'procps',
    'udev',
    'util-linux',
)
BOOT_MODULES = (
    'virtio_pci',
    'virtio_blk',
    'crc32c_generic',
    'ext4',
    '9pnet_virtio',
    '9p',
    'overlay',
    'virtio_console',
)
UNUSED_MODULES = ('sound', 'drivers/gpu', 'drivers/media', 'drivers/staging')
UNUSED_LIBRARIES = ('test', 'idlelib', 'ensurepip', 'config-3.11-x86_64-linux-gnu')
SPACE = 3 << 30
GUEST_SCRIPTS = Path(__file__).parent / 'guest'


def cache_folder() -> Path:
    """Where everything the lab makes is kept."""
    chosen = os.environ.get('KURYR_SRIOV_LAB_CACHE')
    return Path(chosen or '~/.cache/kuryr-sriov-lab').expanduser().absolute()


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The unpacked QEMU and its companions."""

    root: Path

    def command(self, program: str) -> list[str | Path]:
        """The words that run one of its programs, e.g. ``sbin/mke2fs``."""
        return [
            self.root / 'usr/lib64/ld-linux-x86-64.so.2',
            '--argv0',
            Path(program).name,
            '--library-path',
            self.root / 'usr/lib/x86_64-linux-gnu',
            self.root / 'usr' / program,
        ]


@dataclass(frozen=True, slots=True)
class Machine:
    """What is needed to boot, as files on this machine."""

    toolbox: Toolbox
    kernel: Path
    initramfs: Path
    base_image: Path
    python_image: Path
    python_trees: tuple[str, ...]


def prepare(interpreter: Path, repository: Path) -> Machine:
    """Make what is missing in the cache folder; cheap when nothing is.

    :raises LabError: this machine lacks something, or a download failed.
    """
    check_machine()
    release = packages.host_release()
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / 'lock'):
        toolbox = Toolbox(
            cached(
                folder / 'toolbox',
                f'{RECIPE} {TOOLS}',
                f'QEMU of Debian {QEMU_RELEASE}',
                lambda target: make_toolbox(target, release),
            )
        )
        base = cached(
            folder / 'base',
            f'{RECIPE} {release} {GUEST_PACKAGES} {BOOT_MODULES}',
            f'kernel and tools of Debian {release}',
            lambda target: make_base(target, release, toolbox),
        )
        trees = python_trees(interpreter, repository)
        python = cached(
            folder / 'python',
            f'{RECIPE} {fingerprint(trees)}',
            f'Python libraries of {interpreter}',
            lambda target: make_python(target, trees, toolbox),
        )
        return Machine(
            toolbox=toolbox,
            kernel=base / 'vmlinuz',
            initramfs=make_start(folder, base),
            base_image=base / 'base.img',
            python_image=python / 'python.img',
            python_trees=tuple(str(tree) for tree in trees),
        )


def check_machine() -> None:
    """Say what the lab cannot do without, before anything is fetched."""
    if platform.system() != 'Linux' or platform.machine() != 'x86_64':
        raise LabError(
            f'this is {platform.system()} on {platform.machine()}',
            'the lab needs Linux on amd64',
        )
    parent = cache_folder()
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        raise LabError(
            f'{parent} is not writable',
            'set KURYR_SRIOV_LAB_CACHE to a folder that is',
        )
    free = shutil.disk_usage(parent).free
    if free < SPACE and not (cache_folder() / 'base').exists():
        raise LabError(
            f'{parent} has {free >> 20} MiB free of {SPACE >> 20} needed',
            'make room, or set KURYR_SRIOV_LAB_CACHE to another folder',
        )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One preparation at a time; says so when it has to wait."""
    with open(path, 'w', encoding='utf-8') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('waiting for another preparation of the same cache folder')
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(
    target: Path, key: str, what: str, make: Callable[[Path], None]
) -> Path:
    """A folder that *make* filled for *key*, now or in an earlier run.

    Its name holds a digest of the key, and it appears complete or not at
    all. A machine still running on an older one keeps its open files.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    ready = target.with_name(f'{target.name}-{digest}')
    if ready.is_dir():
        os.utime(ready)
        return ready
    say(f'preparing {what} in {ready}')
    start = time.monotonic()
    work = target.with_name(f'{target.name}.tmp')
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    make(work)
    for old in outdated(target):
        shutil.rmtree(old, ignore_errors=True)
    work.rename(ready)
    say(f'prepared {what} in {time.monotonic() - start:.0f} s')
    return ready


def outdated(target: Path) -> list[Path]:
    """Folders made for other keys, but for the one used last."""
    found = sorted(
        target.parent.glob(f'{target.name}-*'),
        key=lambda path: path.stat().st_mtime,
    )
    return found[:-1]


def make_toolbox(target: Path, release: str) -> None:
    """QEMU, mke2fs, kmod and busybox with all their libraries."""
    apt = packages.Apt(
        target / 'apt', packages.other_release(release, QEMU_RELEASE)
    )
    apt.update()
    for package in apt.closure(TOOLS):
        for entry, data in packages.contents(package):
            path = target / entry.name
            if not entry.name.startswith(('usr/bin', 'usr/sbin', 'usr/lib')):
                if not entry.name.startswith('usr/share/'):
                    continue
                if entry.name.split('/')[2] not in ('qemu', 'seabios'):
                    continue
            unpack(entry, data, path)
    shutil.rmtree(target / 'apt')
    run(
        [*Toolbox(target).command('bin/qemu-system-x86_64'), '--version'],
        doing='starting QEMU',
        remedy=f'remove {target} and try again',
    )


def unpack(
    entry: tarfile.TarInfo, data: packages.Data | None, path: Path
) -> None:
    """Write one entry of a package as a file of the current user."""
    if entry.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if entry.issym():
        path.symlink_to(entry.linkname)
    elif data is not None:
        with open(path, 'wb') as out:
            shutil.copyfileobj(data, out)
        path.chmod(0o755 if entry.mode & 0o100 else 0o644)


def make_base(target: Path, release: str, toolbox: Toolbox) -> None:
    """The kernel, its boot modules, and an image of modules and tools."""
    apt = packages.Apt(target / 'apt', packages.configured_sources(release))
    apt.update()
    kernel = apt.newest_kernel()
    say(f'kernel: {kernel}')
    version = kernel.removeprefix('linux-image-')
    modules = target / 'tree/lib/modules' / version
    for entry, data in packages.contents(apt.download(kernel)):
        if entry.name == f'boot/vmlinuz-{version}':
            unpack(entry, data, target / 'vmlinuz')
        _, found, inside = entry.name.partition(f'modules/{version}/')
        if found and not inside.startswith(
            tuple(f'kernel/{name}' for name in UNUSED_MODULES)
        ):
            unpack(entry, data, modules / inside)
    (target / 'tree/usr').mkdir()
    (target / 'tree/usr/lib').symlink_to('../lib')
    run(
        [
            *toolbox.command('sbin/depmod'),
            *('-b', target / 'tree', version),
        ],
        doing='indexing the kernel modules',
        remedy='remove the cache folder and try again',
    )
    boot = images.load_order(modules, BOOT_MODULES)
    files = {'busybox': toolbox.root / 'usr/bin/busybox'}
    (target / 'modules.list').write_text(
        ''.join(f'/modules/{path.name}\n' for path in boot), encoding='utf-8'
    )
    files['modules.list'] = target / 'modules.list'
    files |= {f'modules/{path.name}': path for path in boot}
    images.make_initramfs(target / 'boot.cpio', files, ('modules',))
    guest = packages.Apt(target / 'apt', packages.configured_sources(release))
    for old in (target / 'apt/archives').glob('*.deb'):
        old.unlink()
    debs = guest.closure(GUEST_PACKAGES)

    def fill(archive: tarfile.TarFile, size: images.TarSize) -> None:
        images.add_tree(archive, size, target / 'tree/lib/modules', 'modules')
        seen: set[str] = set()
        add_folder(archive, size, 'tools')
        for package in debs:
            add_package(archive, size, package, seen)
        busybox = toolbox.root / 'usr/bin/busybox'
        images.add_tree(archive, size, busybox, 'busybox')

    images.make_image(
        target / 'base.img', toolbox.command('sbin/mke2fs'), fill
    )
    shutil.rmtree(target / 'tree')
    shutil.rmtree(target / 'apt')


def add_package(
    archive: tarfile.TarFile,
    size: images.TarSize,
    package: Path,
    seen: set[str],
) -> None:
    """Add the programs, libraries and udev rules of a package."""
    wanted = ('usr/bin', 'usr/sbin', 'usr/lib', 'etc/udev')
    for entry, data in packages.contents(package):
        inside = entry.name.startswith(wanted)
        if entry.name in seen or not (inside or entry.name in ('usr', 'etc')):
            continue
        seen.add(entry.name)
        entry.name = f'tools/{entry.name}'
        if entry.islnk():
            entry.linkname = f'tools/{entry.linkname}'
        size.count(entry)
        archive.addfile(entry, data)


def add_folder(
    archive: tarfile.TarFile, size: images.TarSize, name: str
) -> None:
    """Add an empty folder."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    size.count(entry)
    archive.addfile(entry)


def make_start(folder: Path, base: Path) -> Path:
    """The initramfs of the day: the boot modules and the current scripts."""
    script = GUEST_SCRIPTS / 'init.sh'
    digest = hashlib.sha256(script.read_bytes()).hexdigest()[:12]
    target = base / f'initramfs-{digest}'
    if not target.exists():
        extra = folder / 'init.cpio'
        names = ('bin', 'dev', 'proc', 'sys', 'root', 'base', 'host', 'up')
        images.make_initramfs(extra, {'init': script}, names)
        work = target.with_suffix('.tmp')
        work.write_bytes((base / 'boot.cpio').read_bytes() + extra.read_bytes())
        extra.unlink()
        work.rename(target)
    return target


def python_trees(interpreter: Path, repository: Path) -> list[Path]:
    """The folders that the interpreter imports from, without the project.

    :raises LabError: it does not run, or is older than Python 3.11.
    """
    remedy = 'make the virtual environment first (make venv), or set'
    remedy += ' KURYR_SRIOV_LAB_PYTHON'
    if not interpreter.exists():
        raise LabError(f'there is no {interpreter}', remedy)
    said = run(
        [
            interpreter,
            '-Ic',
            'import json, sys; import pytest, pyroute2;'
            'assert sys.version_info >= (3, 11), sys.version;'
            'print(json.dumps(sys.path))',
        ],
        doing=f'asking {interpreter} where it imports from',
        remedy=remedy,
    )
    found = [Path(item) for item in json.loads(said) if Path(item).is_dir()]
    outside = [path for path in found if path != repository]
    return [
        path
        for path in outside
        if not any(other in path.parents for other in outside)
    ]


def fingerprint(trees: list[Path]) -> str:
    """Changes whenever a file in the folders does."""
    digest = hashlib.sha256()
    for tree in trees:
        digest.update(str(tree).encode())
        for folder, folders, names in os.walk(tree):
            unused = {'__pycache__'} | {'site-packages', 'dist-packages'}
            folders[:] = sorted(set(folders) - unused)
            for name in sorted(names):
                facts = os.lstat(os.path.join(folder, name))
                line = f'{folder}/{name} {facts.st_size} {facts.st_mtime_ns}\n'
                digest.update(line.encode())
    return digest.hexdigest()


def make_python(target: Path, trees: list[Path], toolbox: Toolbox) -> None:
    """An image of the folders, each under its number."""

    imported = {str(tree) for tree in trees}

    def skip(entry: os.DirEntry[str]) -> bool:
        if entry.name in ('site-packages', 'dist-packages'):
            return entry.path not in imported
        return entry.name in UNUSED_LIBRARIES and not any(
            word in entry.path for word in ('/site-packages/', '/dist-packages/')
        )

    def fill(archive: tarfile.TarFile, size: images.TarSize) -> None:
        for number, tree in enumerate(trees):
            images.add_tree(archive, size, tree, str(number), skip)

    images.make_image(
        target / 'python.img', toolbox.command('sbin/mke2fs'), fill
    )
