# SPDX-License-Identifier: Apache-2.0
"""What the machine is told: files in the folder that it shares with us."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.lab.guest import Job
from tools.lab.prepare import Machine
from tools.lab.recipes import GUEST_SCRIPTS
from tools.lab.topology import NODE_ADDRESS, Topology


def write_orders(
    shared: Path, topology: Topology, machine: Machine, job: Job
) -> None:
    """Fill the folder that host and guest share."""
    for script, name in (('start.sh', 'start.sh'), ('welcome.sh', 'welcome')):
        shutil.copy(GUEST_SCRIPTS / script, shared / name)
    if not job.command:
        (shared / 'interactive').touch()
    for name, text in {
        'command': command_text(job),
        'python-trees': lines_of(machine.python_trees),
        'scratch-folders': lines_of(
            scratch_folders(job.interpreter, job.repository)
        ),
        'kept-folders': lines_of(job.kept),
        'modules': ' '.join({*job.modules, *topology.drivers()}),
        'modprobe.conf': lines_of(topology.modprobe),
        'topology-name': topology.name,
        'topology': topology.guest_table(),
        'plain': topology.plain_table(),
        'network': f'{NODE_ADDRESS}/24 10.0.2.2\n' if topology.ports else '',
    }.items():
        (shared / name).write_text(text, encoding='utf-8')


def lines_of(words: Iterable[object]) -> str:
    """One line for each."""
    return ''.join(f'{word}\n' for word in words)


def command_text(job: Job) -> str:
    """The shell script that runs the command as it would run here."""
    path = f'{job.interpreter.parent}:/usr/sbin:/usr/bin:/sbin:/bin'
    lines = [
        f'export {name}={shlex.quote(value)}'
        for name, value in {**job.environment, 'PATH': path}.items()
    ]
    lines.append(f'cd {shlex.quote(str(job.repository))}')
    if job.command:
        lines.append(f'exec {shlex.join(job.command)}')
    else:
        lines.append(f'stty {terminal_size()}')
        lines.append('. /run/lab/welcome')
    return lines_of(lines)


def scratch_folders(*needed: Path) -> list[Path]:
    """Folders that begin empty in the guest, unless it needs what is there."""
    return [
        folder
        for folder in (Path('/tmp'), Path('/var/tmp'))
        if not any(folder in path.parents for path in needed)
    ]


def terminal_size() -> str:
    """Size of this terminal as words for stty."""
    size = shutil.get_terminal_size()
    return f'rows {size.lines} cols {size.columns}'
