# SPDX-License-Identifier: Apache-2.0
"""Modules of Debian's kernel, built with what Debian leaves out.

From the source package of the very kernel that the machine runs, against its
headers: the same modules, with an option on, or with a small change.
"""

from __future__ import annotations

import shutil
import struct
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.lab import packages
from tools.lab.errors import LabError
from tools.lab.process import need, run, say
from tools.lab.recipes import unpack

OUTDATED = (
    'if the archive has a newer kernel by now: python3 -m tools.lab clean'
)


@dataclass(frozen=True, slots=True)
class Build:
    """Modules from one folder of the kernel's source.

    :param modules: names of their files, without suffix.
    :param words: for make.
    :param changes: of its source: file, old text, new text.
    """

    folder: str
    modules: tuple[str, ...]
    words: tuple[str, ...] = ()
    changes: tuple[tuple[str, str, str], ...] = ()


BUILDS = {
    'vfio': Build(
        folder='drivers/vfio',
        modules=(
            *('vfio', 'vfio_virqfd', 'vfio_iommu_type1'),
            *('vfio-pci-core', 'vfio-pci'),
        ),
        words=('KCFLAGS=-DCONFIG_VFIO_NOIOMMU=1', 'CONFIG_VFIO_NOIOMMU=y'),
    ),
    # Soft-RoCE that is to its VF what a NIC's own RDMA driver is to it: a
    # device of the PCI function, which stays when the netdev changes its
    # network namespace, and can change its own.
    'rdma_rxe': Build(
        folder='drivers/infiniband/sw/rxe',
        modules=('rdma_rxe',),
        changes=(
            (
                'rxe_verbs.c',
                'dev->node_type = RDMA_NODE_IB_CA;',
                'dev->node_type = RDMA_NODE_IB_CA;\n'
                '\tdev->dev.parent = rxe->ndev->dev.parent;',
            ),
            (
                'rxe_verbs.c',
                'static const struct ib_device_ops rxe_dev_ops = {',
                'static void rxe_disassociate(struct ib_ucontext *context)\n'
                '{\n}\n\n'
                'static const struct ib_device_ops rxe_dev_ops = {\n'
                '\t.disassociate_ucontext = rxe_disassociate,',
            ),
            (
                'rxe_net.c',
                'case NETDEV_UNREGISTER:',
                'case NETDEV_UNREGISTER:\n'
                '\t\tif (ndev->reg_state != NETREG_UNREGISTERING)\n'
                '\t\t\tbreak;',
            ),
        ),
    ),
}
"""What can be built, by the name that a topology has for it."""


def kernel_release(kernel: Path) -> tuple[str, str]:
    """Release and package version of a kernel image, by its own header.

    Such as ``6.1.0-56-amd64`` and ``6.1.192-2``; see the kernel's
    ``Documentation/x86/boot.rst``, ``kernel_version``.
    """
    data = kernel.read_bytes()
    (offset,) = struct.unpack_from('<H', data, 0x20E)
    text = data[offset + 0x200 :].partition(b'\0')[0].decode()
    return text.split()[0], text.partition(' Debian ')[2].split()[0]


def make_modules(
    target: Path, build: Build, release: str, kernel: Path
) -> None:
    """Fill *target* with the modules, for that kernel.

    :raises LabError: the archive has the kernel's source no more, or it
        cannot be built.
    """
    name, version = kernel_release(kernel)
    apt = packages.Apt(target / 'apt', packages.configured_sources(release))
    apt.update()
    try:
        headers = unpack_headers(apt, target / 'headers', name)
        source = download_source(apt, name, version)
    except LabError as error:
        raise LabError(str(error), OUTDATED) from error
    folder = unpack_source(source, target / 'source', build.folder)
    for file, old, new in build.changes:
        change(folder / file, old, new)
    run(
        [
            *(need('make', 'make'), '-s', '-j2', '-C', headers),
            *(f'M={folder}', *build.words, 'modules'),
        ],
        doing=f'building {build.folder} of {name}',
        remedy='install gcc and make',
    )
    for module in build.modules:
        for built in folder.rglob(f'{module}.ko'):
            built.rename(target / built.name)
    for scratch in ('apt', 'headers', 'source'):
        shutil.rmtree(target / scratch)


def unpack_headers(apt: packages.Apt, target: Path, name: str) -> Path:
    """The folder to build modules of that kernel in."""
    headers = f'linux-headers-{name}'
    needed = [
        each
        for each in apt.depends(headers)
        if each.startswith(('linux-headers-', 'linux-kbuild-'))
    ]
    for package in (headers, *needed):
        for entry, data in packages.contents(apt.download(package)):
            unpack(entry, data, target / entry.name)
    folder = target / 'usr/src' / headers
    makefile = folder / 'Makefile'
    change(makefile, '/usr/src/', f'{target}/usr/src/')
    return folder


def download_source(apt: packages.Apt, name: str, version: str) -> Path:
    """The source package, of that version if the archive still has it."""
    package = f'linux-source-{".".join(name.split(".")[:2])}'
    try:
        return apt.download(f'{package}={version}')
    except LabError:
        say(f'{package} {version} is gone; taking the newest')
        return apt.download(package)


def unpack_source(package: Path, target: Path, folder: str) -> Path:
    """One folder of the kernel's source."""
    for entry, data in packages.contents(package):
        if data is None or not entry.name.endswith('.tar.xz'):
            continue
        with tarfile.open(fileobj=data, mode='r|xz') as archive:
            extract(archive, target, f'/{folder}/')
    return target / folder


def extract(archive: tarfile.TarFile, target: Path, inside: str) -> None:
    """Write the files below one folder of an archive."""
    entries: Iterable[tarfile.TarInfo] = archive
    for entry in entries:
        _, found, rest = entry.name.partition(inside)
        if found and entry.isreg():
            unpack(
                entry,
                archive.extractfile(entry),
                target / inside.strip('/') / rest,
            )


def change(file: Path, old: str, new: str) -> None:
    """Replace what must be there.

    :raises LabError: it is not: this source is another one.
    """
    text = file.read_text(encoding='utf-8')
    if old not in text:
        raise LabError(
            f'{file.name} is without {old!r}',
            'adapt tools/lab/kernelmodules.py to this kernel',
        )
    file.write_text(text.replace(old, new), encoding='utf-8')
