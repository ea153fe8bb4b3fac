# SPDX-License-Identifier: Apache-2.0
"""A process that attaches, detaches, and is killed on the way.

Run as ``python -m kuryr_sriov.cmd.demo.killing`` with a ``Task`` as JSON on
standard input.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from kuryr_sriov import codec, exceptions, model
from kuryr_sriov.config import loading
from kuryr_sriov.node import Node
from kuryr_sriov.testing.simulation.simulated_node import SimulatedHost

STEPS = (
    'allocate',
    'pair',
    'lock',
    'settle',
    'record',
    'connect',
    'report',
    'confirm',
    'announce',
    'restore',
    'forget',
)
"""Where it can be killed: the steps of an attach, then of a detach."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the process does, and when it dies.

    :param kernel: address of the simulated node.
    :param files: kuryr.conf and what overrides it.
    :param step: one of ``STEPS``: die when it is about to begin,
    :param changes: or after that many more changes to the node.
    """

    kernel: str
    files: tuple[str, ...]
    sandbox: model.Sandbox
    vifs: tuple[model.Vif, ...]
    step: str
    changes: int


class _Fuse:
    def __init__(self, task: Task) -> None:
        self._step = task.step
        self._left = task.changes
        self._lit = False

    def observe(self, step: str) -> None:
        if step == self._step and not self._lit:
            self._lit = True
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def change(self, operation: str) -> None:
        if self._lit:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1


def run(task: Task) -> None:
    """Do the task in a process of its own, until that is killed.

    :raises PermanentError: it was not killed.
    """
    process = subprocess.run(
        [sys.executable, '-m', __name__],
        input=codec.to_json(task),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != -signal.SIGKILL:
        raise exceptions.PermanentError(
            f'the process was not killed: {task.step} has no more than '
            f'{task.changes} changes after it; name fewer with --kill-at '
            f'{process.stderr}'
        )


def parse(text: str) -> tuple[str, int]:
    """``STEP`` or ``STEP+CHANGES``.

    :raises ArgumentTypeError: it is neither.
    """
    step, _, changes = text.partition('+')
    if step not in STEPS or not (changes or '0').isdecimal():
        raise argparse.ArgumentTypeError(
            f'{text!r} is not STEP or STEP+N; steps: {", ".join(STEPS)}'
        )
    return step, int(changes or 0)


def main(argv: Sequence[str] = ()) -> None:
    """The process itself."""
    task = codec.from_json(Task, sys.stdin.read())
    fuse = _Fuse(task)
    host = SimulatedHost.attach(task.kernel)
    host.on_change(fuse.change)
    node = Node(
        loading.load_config(files=task.files), host=host, observe=fuse.observe
    )
    node.attach(task.sandbox, task.vifs)
    node.detach(task.sandbox.container_id)


if __name__ == '__main__':
    main()
