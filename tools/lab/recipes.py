# SPDX-License-Identifier: Apache-2.0
"""How each thing in the cache folder is made."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tools.lab import images, packages
from tools.lab.process import run, say

QEMU_RELEASE = 'trixie'
TOOLS = (
    'qemu-system-x86',
    'e2fsprogs',
    'genisoimage',
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
    'nftables',
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
UNUSED_LIBRARIES = (
    'test',
    'idlelib',
    'ensurepip',
)
GUEST_SCRIPTS = Path(__file__).parent / 'guest'


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
        work.write_bytes(
            (base / 'boot.cpio').read_bytes() + extra.read_bytes()
        )
        extra.unlink()
        work.rename(target)
    return target


def make_python(target: Path, trees: list[Path], toolbox: Toolbox) -> None:
    """An image of the folders, each under its number."""

    imported = {str(tree) for tree in trees}

    def skip(entry: os.DirEntry[str]) -> bool:
        if entry.name in ('site-packages', 'dist-packages'):
            return entry.path not in imported
        unused = entry.name in UNUSED_LIBRARIES
        unused = unused or entry.name.startswith('config-3')
        return unused and not any(
            word in entry.path
            for word in ('/site-packages/', '/dist-packages/')
        )

    def fill(archive: tarfile.TarFile, size: images.TarSize) -> None:
        for number, tree in enumerate(trees):
            images.add_tree(archive, size, tree, str(number), skip)

    images.make_image(
        target / 'python.img', toolbox.command('sbin/mke2fs'), fill
    )
