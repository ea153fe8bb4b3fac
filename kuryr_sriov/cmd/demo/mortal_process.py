# SPDX-License-Identifier: Apache-2.0
"""A process that calls methods of ``Node`` and is killed on the way.

Run as ``python -m kuryr_sriov.cmd.demo.mortal_process``, with a pickled
``Task`` on standard input.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from kuryr_sriov import exceptions
from kuryr_sriov.cmd.demo import shared_kernel
from kuryr_sriov.config import loading
from kuryr_sriov.node import Node
from kuryr_sriov.testing.fixtures.interruption import tell_beginnings

DEADLINE = 60
"""Seconds after which a process that does not die is given up."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the process does, and when it dies.

    :param kernel: address of a ``KernelServer``.
    :param files: kuryr.conf and what overrides it.
    :param calls: methods of ``Node`` with their arguments, in order.
    :param point: the step or the change of the node that it dies at,
    :param changes: or the number of changes after that.
    """

    kernel: str
    files: tuple[str, ...]
    calls: tuple[tuple[str, tuple[Any, ...]], ...]
    point: str
    changes: int = 0


def run_until_killed(task: Task) -> None:
    """Do the task in a process of its own.

    :raises PermanentError: it was not killed.
    """
    process = subprocess.run(
        [sys.executable, '-m', __name__],
        input=pickle.dumps(task),
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    if process.returncode != -signal.SIGKILL:
        raise exceptions.PermanentError(
            f'the process was not killed: there are no more than '
            f'{task.changes} changes after {task.point}; name fewer. '
            f'{process.stderr.decode()}'
        )


class _Fuse:
    """Kills this process at the point, or a number of changes later."""

    def __init__(self, point: str, changes: int) -> None:
        self._point = point
        self._left = changes
        self._lit = False

    def pass_step(self, step: str) -> None:
        if step == self._point and not self._lit:
            self._lit = True
            self._burn(0)

    def pass_change(self, operation: str) -> None:
        if self._lit:
            self._burn(1)
        self.pass_step(operation)

    def _burn(self, changes: int) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= changes


def main() -> None:
    """The process itself."""
    # Standard input is the parent's pipe.
    task: Task = pickle.load(sys.stdin.buffer)
    fuse = _Fuse(task.point, task.changes)
    host = shared_kernel.connect_host(task.kernel)
    host.on_change(fuse.pass_change)
    node = Node(
        loading.load_config(files=task.files),
        host=host,
        observe=tell_beginnings(fuse.pass_step),
    )
    for method, arguments in task.calls:
        getattr(node, method)(*arguments)


if __name__ == '__main__':
    main()
