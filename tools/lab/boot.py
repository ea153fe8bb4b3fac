# SPDX-License-Identifier: Apache-2.0
"""Start the machine, run one command in it, bring back what it leaves."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tools.lab.errors import LabError
from tools.lab.images import TarSize, add_tree
from tools.lab.prepare import GUEST_SCRIPTS, Machine, cache_folder
from tools.lab.process import need, run, say
from tools.lab.topology import Topology

NOT_COPIED = frozenset(
    ('.git', '.venv', '.tox', '.nox', '.mypy_cache', '.ruff_cache', 'build')
)
TIMED_OUT = 124


@dataclass(frozen=True, slots=True)
class Job:
    """A command for the guest and the terms it runs under.

    :param command: its words; empty for a shell on this terminal.
    :param deadline: seconds for the whole run, None for no end.
    :param start_deadline: seconds until the guest must run the command.
    :param results: folder that gets what the command leaves in
        ``$KURYR_SRIOV_LAB_RESULTS``, besides console.log and output.log.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    repository: Path
    interpreter: Path
    results: Path
    deadline: float | None = None
    start_deadline: float = 180
    udev: bool = True
    kernel_options: tuple[str, ...] = field(default=())


def boot(machine: Machine, topology: Topology, job: Job) -> int:
    """Exit status of the command that ran in the guest.

    :raises LabError: the guest did not start, died, or took too long.
    """
    runs = cache_folder() / 'runs'
    runs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs) as scratch:
        folder = Path(scratch)
        shared = folder / 'shared'
        shared.mkdir()
        pack_project(job, folder)
        write_orders(shared, topology, machine, job)
        modules = machine.toolbox.root / 'usr/lib/x86_64-linux-gnu/qemu'
        words = qemu_words(machine, topology, job, folder)
        try:
            return Guest(words, modules, folder, job).wait()
        finally:
            keep(folder, job.results)


def pack_project(job: Job, folder: Path) -> None:
    """Tar the project as it is now, compiled, under its own path."""
    copy = folder / 'project'
    shutil.copytree(
        job.repository,
        copy,
        symlinks=True,
        ignore=lambda _, names: NOT_COPIED.intersection(names) | {'__pycache__'},
    )
    run(
        [job.interpreter, '-Im', 'compileall', '-qq', copy],
        doing='compiling the project',
        remedy='mend the file that does not compile',
    )
    with tarfile.open(folder / 'project.tar', 'w') as archive:
        add_tree(archive, TarSize(), copy, str(job.repository).lstrip('/'))
    shutil.rmtree(copy)


def write_orders(
    shared: Path, topology: Topology, machine: Machine, job: Job
) -> None:
    """Fill the folder that host and guest share."""
    shutil.copy(GUEST_SCRIPTS / 'start.sh', shared)
    trees = ''.join(f'{tree}\n' for tree in machine.python_trees)
    path = f'{job.interpreter.parent}:/usr/sbin:/usr/bin:/sbin:/bin'
    lines = [
        f'export {name}={shlex.quote(value)}'
        for name, value in {**job.environment, 'PATH': path}.items()
    ]
    lines.append(f'cd {shlex.quote(str(job.repository))}')
    if job.command:
        lines.append(f'exec {shlex.join(job.command)}')
    else:
        (shared / 'interactive').touch()
        lines.append(f'stty {terminal_size()}')
        lines.append('. /run/lab/welcome')
    (shared / 'python-trees').write_text(trees, encoding='utf-8')
    (shared / 'topology').write_text(topology.guest_table(), encoding='utf-8')
    (shared / 'command').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    (shared / 'scratch-folders').write_text(
        ''.join(f'{path}\n' for path in scratch_folders(job)),
        encoding='utf-8',
    )
    shutil.copy(GUEST_SCRIPTS / 'welcome.sh', shared / 'welcome')


def scratch_folders(job: Job) -> list[Path]:
    """Folders that begin empty in the guest, unless the project is there."""
    needed = (job.interpreter, job.repository)
    return [
        folder
        for folder in (Path('/tmp'), Path('/var/tmp'))
        if not any(folder in path.parents for path in needed)
    ]


def terminal_size() -> str:
    """Size of this terminal as words for stty."""
    size = shutil.get_terminal_size()
    return f'rows {size.lines} cols {size.columns}'


def qemu_words(
    machine: Machine, topology: Topology, job: Job, folder: Path
) -> list[str]:
    """The command line of the emulator."""
    share = machine.toolbox.root / 'usr/share'
    kvm = os.environ.get('KURYR_SRIOV_LAB_ACCEL') == 'kvm'
    kernel_options = [
        *('console=ttyS0', 'quiet', 'loglevel=4', 'panic=-1', 'nokaslr'),
        *('mitigations=off', 'intel_iommu=on', 'iommu.strict=0'),
        *('random.trust_cpu=on', 'printk.devkmsg=on'),
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
        *('-device', 'intel-iommu,intremap=on,caching-mode=on'),
        *('-kernel', machine.kernel, '-initrd', machine.initramfs),
        *('-append', ' '.join(kernel_options)),
        *('-serial', f'file:{folder / "console.log"}'),
        *('-chardev', 'stdio,id=terminal,signal=off'),
        *('-device', 'virtio-serial-pci', '-device'),
        'virtconsole,chardev=terminal',
    ]
    disks = (machine.base_image, machine.python_image, folder / 'project.tar')
    for number, disk in enumerate(disks):
        words += [
            '-drive',
            f'if=none,id=disk{number},format=raw,readonly=on,file={disk}',
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
    return [str(word) for word in words] + topology.qemu_arguments()


class Guest:
    """The running machine, seen from outside."""

    def __init__(
        self, words: Sequence[str], modules: Path, folder: Path, job: Job
    ) -> None:
        self._words = words
        self._modules = modules
        self._folder = folder
        self._shared = folder / 'shared'
        self._job = job

    def wait(self) -> int:
        """Run it to its end.

        :raises LabError: it did not come to a good one.
        """
        interactive = not self._job.command
        pipe = None if interactive else subprocess.PIPE
        env = {
            **os.environ,
            'QEMU_MODULE_DIR': str(self._modules),
            'TMPDIR': str(self._folder),
        }
        with terminal_kept(), signals_as_exit():
            process = subprocess.Popen(
                self._words,
                stdin=pipe,
                stdout=pipe,
                stderr=subprocess.PIPE,
                env=env,
            )
            readers = self._read(process)
            try:
                self._watch(process)
            finally:
                process.kill()
                process.wait()
                for reader in readers:
                    reader.join(5)
        return self._verdict()

    def _read(self, process: subprocess.Popen[bytes]) -> list[threading.Thread]:
        def copy(
            source: BinaryIO, name: str, show: Callable[[bytes], object]
        ) -> None:
            with open(self._folder / name, 'wb') as log:
                while data := os.read(source.fileno(), 65536):
                    log.write(data)
                    log.flush()
                    show(data)

        def show(data: bytes) -> None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

        threads = []
        for source, name, action in (
            (process.stdout, 'output.log', show),
            (process.stderr, 'qemu.log', len),
        ):
            if source is not None:
                thread = threading.Thread(
                    target=copy, args=(source, name, action), daemon=True
                )
                thread.start()
                threads.append(thread)
        return threads

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        begin = time.monotonic()
        started = False
        while process.poll() is None:
            spent = time.monotonic() - begin
            if not started and (self._shared / 'started').exists():
                started = True
                say(f'started in {spent:.0f} s')
            if not started and spent > self._job.start_deadline:
                raise self._failure(
                    f'the guest did not start in {spent:.0f} s'
                )
            if self._job.deadline and spent > self._job.deadline:
                raise self._failure(
                    f'the command did not end in {spent:.0f} s'
                )
            time.sleep(0.1)

    def _verdict(self) -> int:
        failure = self._shared / 'failure'
        if failure.exists():
            raise self._failure(
                f'the guest: {failure.read_text(encoding="utf-8").strip()}'
            )
        try:
            return int((self._shared / 'status').read_text(encoding='ascii'))
        except FileNotFoundError:
            raise self._failure(
                'the guest ended without a result'
            ) from None

    def _failure(self, reason: str) -> LabError:
        said = ''
        for name in ('qemu.log', 'console.log'):
            path = self._folder / name
            if path.exists():
                lines = path.read_text(errors='replace').splitlines()[-15:]
                said += ''.join(f'    {name}: {line}\n' for line in lines)
        return LabError(reason, f'{said}  all of it: {self._job.results}')


def keep(folder: Path, results: Path) -> None:
    """Copy logs and results where the user looks for them."""
    results.mkdir(parents=True, exist_ok=True)
    for name in ('console.log', 'output.log', 'qemu.log'):
        if (folder / name).exists():
            shutil.copy(folder / name, results / name)
    left = folder / 'shared/results'
    if left.exists():
        shutil.copytree(left, results, dirs_exist_ok=True)


@contextlib.contextmanager
def terminal_kept() -> Iterator[None]:
    """QEMU makes the terminal raw; give it back as it was."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def signals_as_exit() -> Iterator[None]:
    """A polite kill of this process ends the guest and tidies up, too."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, leave) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
