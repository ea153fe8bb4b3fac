# SPDX-License-Identifier: Apache-2.0
"""The disk images and the initramfs that the lab's machine starts from."""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tools.lab.process import run

BLOCK = 4096


class TarSize:
    """Adds up what the entries of a tar file take in a file system."""

    def __init__(self) -> None:
        self.blocks = 0
        self.entries = 0

    def count(self, entry: tarfile.TarInfo) -> None:
        """Take this entry into account."""
        self.entries += 1
        self.blocks += -(-entry.size // BLOCK) + (
            entry.isdir() or entry.issym()
        )


def make_image(
    target: Path,
    mke2fs: list[str | Path],
    fill: Callable[[tarfile.TarFile, TarSize], None],
) -> None:
    """Make a file system image out of what *fill* writes to a tar file.

    mke2fs reads the tar file itself: nothing is mounted, nobody need be
    root, and the image is sparse.
    """
    size = TarSize()
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix='.tar-', suffix='.tmp'
    ) as scratch:
        with tarfile.open(
            scratch.name, 'w', format=tarfile.PAX_FORMAT
        ) as archive:
            fill(archive, size)
        blocks = size.blocks + size.blocks // 8 + 16384
        run(
            [
                *mke2fs,
                *('-q', '-F', '-t', 'ext4', '-b', str(BLOCK)),
                *('-O', '^has_journal', '-m', '0'),
                *('-N', str(size.entries + 1024)),
                *('-d', scratch.name, target, str(blocks)),
            ],
            doing=f'making {target.name}',
            remedy='check the free space in the cache folder',
        )


def add_tree(
    archive: tarfile.TarFile,
    size: TarSize,
    folder: Path,
    name: str,
    skip: Callable[[os.DirEntry[str]], bool] = lambda entry: False,
) -> None:
    """Add a folder under another name, owned by root."""
    info = archive.gettarinfo(str(folder), name)
    info.uid = info.gid = 0
    info.uname = info.gname = 'root'
    info.mtime = int(info.mtime)
    if info.islnk():
        info.type, info.linkname = tarfile.REGTYPE, ''
        info.size = folder.stat().st_size
    size.count(info)
    if info.isreg():
        with open(folder, 'rb') as source:
            archive.addfile(info, source)
        return
    archive.addfile(info)
    if info.isdir():
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda item: item.name):
                if not skip(entry):
                    path = Path(entry.path)
                    add_tree(archive, size, path, f'{name}/{entry.name}', skip)


def make_initramfs(
    target: Path,
    files: Mapping[str, Path],
    folders: Iterable[str],
) -> None:
    """Write a cpio archive as the kernel unpacks it at start.

    :param files: name in the archive to the file; all are executable.
    """
    with open(target, 'wb') as out:
        number = 0

        def add(name: str, mode: int, data: bytes) -> None:
            nonlocal number
            number += 1
            encoded = name.encode() + b'\0'
            fields = [number, mode, 0, 0, 1, 0, len(data)]
            fields += [0, 0, 0, 0, len(encoded), 0]
            head = b'070701' + b''.join(b'%08x' % field for field in fields)
            for part in (head + encoded, data):
                out.write(part + b'\0' * (-len(part) % 4))

        for folder in folders:
            add(folder, stat.S_IFDIR | 0o755, b'')
        for name, path in files.items():
            add(name, stat.S_IFREG | 0o755, path.read_bytes())
        add('TRAILER!!!', 0, b'')


def load_order(modules: Path, wanted: Iterable[str]) -> list[Path]:
    """Module files to load, in this order, for *wanted* modules.

    Names that the kernel has built in are left out.

    :param modules: the folder with ``modules.dep``.
    """
    needs: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    with open(modules / 'modules.dep', encoding='utf-8') as source:
        for line in source:
            path, _, rest = line.strip().partition(':')
            needs[path] = rest.split()
            name = path.rpartition('/')[2].partition('.')[0]
            by_name[name.replace('-', '_')] = path
    order: dict[str, None] = {}

    def visit(path: str) -> None:
        # modules.dep lists the closure, outermost first
        for other in reversed(needs[path]):
            order[other] = None
        order[path] = None

    for name in wanted:
        if found := by_name.get(name.replace('-', '_')):
            visit(found)
    return [modules / path for path in order]
