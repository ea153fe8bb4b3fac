# SPDX-License-Identifier: Apache-2.0
"""Time inside system calls, as the kernel's own tracepoints see it.

Every call of this process and of the threads it starts, from entry to exit
(``raw_syscalls``, Documentation/trace/events.rst). Calls that only wait for
other threads, or for time to pass, are left out.
"""

from __future__ import annotations

import collections
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

TRACING = Path('/sys/kernel/tracing')
# Numbers of x86-64.
WAITING = {7: 'poll', 35: 'nanosleep', 202: 'futex', 230: 'clock_nanosleep'}
NAMES = {
    **{0: 'read', 1: 'write', 3: 'close', 9: 'mmap', 11: 'munmap'},
    **{16: 'ioctl', 18: 'pwrite64', 41: 'socket', 44: 'sendto'},
    **{45: 'recvfrom', 49: 'bind', 54: 'setsockopt', 72: 'fcntl'},
    **{75: 'fdatasync', 89: 'readlink', 217: 'getdents64', 257: 'openat'},
    **{262: 'newfstatat', 308: 'setns', 435: 'clone3'},
}
EVENT = re.compile(
    r'-(?P<thread>\d+) +\[\d+\].* (?P<seconds>\d+\.\d+): '
    r'sys_(?P<what>enter|exit): NR (?P<number>-?\d+)'
)


class SystemCalls:
    """Measures what this process does inside the kernel."""

    def __init__(self) -> None:
        if not (TRACING / 'trace').exists():
            subprocess.run(
                ['mount', '-t', 'tracefs', 'tracefs', TRACING], check=True
            )
        self._write('tracing_on', '0')
        self._write('trace_clock', 'mono')
        self._write('buffer_size_kb', '8192')
        self._write('options/event-fork', '1')
        self._write('set_event_pid', str(os.getpid()))
        self._write('events/raw_syscalls/enable', '1')

    def measure(
        self, work: Callable[[], object]
    ) -> dict[str, tuple[int, float]]:
        """Do *work*; how often, and seconds spent, by name of the call."""
        self._write('trace', '')
        self._write('tracing_on', '1')
        try:
            work()
        finally:
            self._write('tracing_on', '0')
        return spent((TRACING / 'trace').read_text())

    def _write(self, name: str, text: str) -> None:
        (TRACING / name).write_text(text)


def spent(trace: str) -> dict[str, tuple[int, float]]:
    """How often, and seconds, by system call, from the text of a trace."""
    entered: dict[str, float] = {}
    times: collections.Counter[str] = collections.Counter()
    seconds: collections.defaultdict[str, float]
    seconds = collections.defaultdict(float)
    for event in EVENT.finditer(trace):
        thread, number = event['thread'], int(event['number'])
        if event['what'] == 'enter':
            entered[thread] = float(event['seconds'])
        elif thread in entered and number not in WAITING:
            name = NAMES.get(number, str(number))
            times[name] += 1
            seconds[name] += float(event['seconds']) - entered.pop(thread)
    return {name: (times[name], seconds[name]) for name in times}
