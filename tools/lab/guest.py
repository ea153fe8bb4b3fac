# SPDX-License-Identifier: Apache-2.0
"""The running machine, seen from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tools.lab.errors import BROKEN, TIMED_OUT, LabError
from tools.lab.process import say

EXPECTED = 'is not connected to host network'


@dataclass(frozen=True, slots=True)
class Job:
    """A command for the guest and the terms it runs under.

    :param command: its words; empty for a shell on this terminal.
    :param deadline: seconds for the whole run, None for no end.
    :param start_deadline: seconds until the guest must run the command.
    :param results: folder that gets what the command leaves in
        ``$KURYR_SRIOV_LAB_RESULTS``, besides console.log and output.log.
    :param modules: of the kernel, to load beside those of the NICs.
    :param disk: image of a disk that outlives the machine; made if missing.
    :param kept: folders of the machine that are on that disk.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    repository: Path
    interpreter: Path
    results: Path
    deadline: float | None = None
    start_deadline: float = 300
    udev: bool = True
    kernel_options: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    disk: Path | None = None
    kept: tuple[str, ...] = ()


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

    def _read(
        self, process: subprocess.Popen[bytes]
    ) -> list[threading.Thread]:
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
                    f'the guest did not start in {spent:.0f} s', TIMED_OUT
                )
            if self._job.deadline and spent > self._job.deadline:
                raise self._failure(
                    f'the command did not end in {spent:.0f} s', TIMED_OUT
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
            raise self._failure('the guest ended without a result') from None

    def _failure(self, reason: str, status: int = BROKEN) -> LabError:
        said = ''
        for name in ('qemu.log', 'console.log'):
            path = self._folder / name
            if path.exists():
                lines = path.read_text(errors='replace').splitlines()
                lines = [w for w in lines if EXPECTED not in w][-20:]
                said += ''.join(f'    {name}: {line}\n' for line in lines)
        return LabError(
            reason, f'{said}  all of it: {self._job.results}', status
        )


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
