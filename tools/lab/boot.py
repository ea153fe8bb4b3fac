# SPDX-License-Identifier: Apache-2.0
"""Start the machine, run one command in it, bring back what it leaves."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.lab.cards import machine_words
from tools.lab.discs import disc_words, make_discs
from tools.lab.guest import Guest, Job
from tools.lab.images import TarSize, add_tree
from tools.lab.orders import write_orders
from tools.lab.prepare import (
    Machine,
    cache_folder,
    locked,
    prepare_modules,
)
from tools.lab.process import need, run
from tools.lab.recipes import Toolbox
from tools.lab.topology import Topology

NOT_COPIED = frozenset(
    (
        *('.git', '.venv', '.tox', '.nox', 'build', '__pycache__'),
        *('.mypy_cache', '.ruff_cache', '.pytest_cache', '.hypothesis'),
    )
)
GUEST_RESULTS = '/run/results'
DISK_SIZE = 16 << 30
"""Of the disk that outlives the machine; the file is sparse."""


def boot(machine: Machine, topology: Topology, job: Job) -> int:
    """Exit status of the command that ran in the guest.

    :raises LabError: the guest did not start, died, or took too long.
    """
    with run_folder() as folder:
        shared = folder / 'shared'
        shared.mkdir()
        (shared / 'built').mkdir()
        for module in prepare_modules(machine, topology.builds):
            shutil.copy(module, shared / 'built')
        pack_project(job, folder)
        write_orders(shared, topology, machine, job)
        modules = machine.toolbox.root / 'usr/lib/x86_64-linux-gnu/qemu'
        words = qemu_words(machine, topology, job, folder)
        discs = topology.discs
        words += disc_words(
            make_discs(discs, job.repository, machine.toolbox, folder)
        )
        if job.disk and not job.disk.exists():
            make_disk(job.disk, machine.toolbox)
        try:
            return Guest(words, modules, folder, job).wait()
        finally:
            keep(folder, job.results)


@contextlib.contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for one run; those that killed runs left are removed."""
    runs = cache_folder() / 'runs'
    runs.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        with locked(cache_folder() / 'runs.lock'):
            for old in runs.iterdir():
                with contextlib.suppress(OSError), locked_folder(old):
                    shutil.rmtree(old, ignore_errors=True)
            scratch = tempfile.TemporaryDirectory(dir=runs)
            folder = Path(stack.enter_context(scratch))
            stack.enter_context(locked_folder(folder))
        yield folder


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """A lock that ends with this process.

    :raises OSError: another process has it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def pack_project(job: Job, folder: Path) -> None:
    """Tar the project as it is now, compiled, under its own path."""
    copy = folder / 'project'
    shutil.copytree(
        job.repository,
        copy,
        symlinks=True,
        ignore=lambda _, names: NOT_COPIED.intersection(names),
        copy_function=copy_if_there,
    )
    # What does not compile is for the command to complain about.
    subprocess.run(
        [job.interpreter, '-Im', 'compileall', '-qq', copy],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    with tarfile.open(folder / 'project.tar', 'w') as archive:
        add_tree(archive, TarSize(), copy, str(job.repository).lstrip('/'))
    shutil.rmtree(copy)


def make_disk(target: Path, toolbox: Toolbox) -> None:
    """An empty file system for what outlives the machine."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, 'wb') as out:
        out.truncate(DISK_SIZE)
    run(
        [
            *toolbox.command('sbin/mke2fs'),
            *('-q', '-F', '-t', 'ext4', target),
        ],
        doing=f'making {target}',
        remedy='check the free space there',
    )


def copy_if_there(source: str, target: str) -> None:
    """Copy a file; editors remove theirs between a look and a copy."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def qemu_words(
    machine: Machine, topology: Topology, job: Job, folder: Path
) -> list[str]:
    """The command line of the emulator."""
    share = machine.toolbox.root / 'usr/share'
    kvm = os.environ.get('KURYR_SRIOV_LAB_ACCEL') == 'kvm'
    kernel_options = [
        *('console=ttyS0', 'quiet', 'loglevel=4', 'panic=-1', 'nokaslr'),
        *('mitigations=off', 'iommu.strict=0'),
        f'intel_iommu={"on" if topology.iommu else "off"}',
        *('random.trust_cpu=on', 'printk.devkmsg=on'),
        # a busy host delays timer interrupts past what the kernel tolerates
        *('no_timer_check', 'nowatchdog', 'tsc=nowatchdog'),
        # now and then the emulation loses one, and a timer that is set anew
        # each time stays silent then; a periodic one goes on
        *('highres=off', 'nohz=off'),
        *([] if job.udev else ['nolabudev']),
        *job.kernel_options,
    ]
    # Nehalem: what newer models add is slow to emulate (16 % in all).
    words: list[str | Path] = [
        need('setpriv', 'util-linux'),
        *('--pdeathsig', 'KILL'),
        *machine.toolbox.command('bin/qemu-system-x86_64'),
        *('-L', share / 'qemu', '-L', share / 'seabios'),
        *('-nodefaults', '-no-user-config', '-no-reboot'),
        *('-display', 'none', '-vga', 'none', '-net', 'none'),
        *('-machine', 'q35,kernel-irqchip=split'),
        *('-accel', 'kvm' if kvm else 'tcg,thread=multi'),
        *('-cpu', 'host' if kvm else 'Nehalem'),
        *('-kernel', machine.kernel, '-initrd', machine.initramfs),
        *('-append', ' '.join(kernel_options)),
        *('-serial', f'file:{folder / "console.log"}'),
        *('-chardev', 'stdio,id=terminal,signal=off'),
        *('-device', 'virtio-serial-pci', '-device'),
        'virtconsole,chardev=terminal',
    ]
    disks = (machine.base_image, machine.python_image, folder / 'project.tar')
    drives = [f'readonly=on,file={disk}' for disk in disks]
    if job.disk:
        # the host's page cache is what a power cut of the machine spares
        drives.append(f'cache=unsafe,discard=unmap,file={job.disk}')
    for number, drive in enumerate(drives):
        words += [
            '-drive',
            f'if=none,id=disk{number},format=raw,{drive}',
            '-device',
            f'virtio-blk-pci,drive=disk{number}',
        ]
    for tag, path, mode in (
        ('host', Path('/'), ',readonly=on,multidevs=remap'),
        ('lab', folder / 'shared', ''),
    ):
        words += [
            '-fsdev',
            f'local,id={tag},path={path},security_model=none{mode}',
            '-device',
            f'virtio-9p-pci,fsdev={tag},mount_tag={tag}',
        ]
    return [str(word) for word in words] + machine_words(topology)


def keep(folder: Path, results: Path) -> None:
    """Copy logs and results where the user looks for them."""
    results.mkdir(parents=True, exist_ok=True)
    for name in ('console.log', 'output.log', 'qemu.log'):
        if (folder / name).exists():
            shutil.copy(folder / name, results / name)
    left = folder / 'shared/results'
    if left.exists():
        shutil.copytree(left, results, dirs_exist_ok=True)
