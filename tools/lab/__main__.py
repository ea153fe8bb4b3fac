# SPDX-License-Identifier: Apache-2.0
"""The command line of the lab."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from tools.lab.arguments import REPOSITORY, parse
from tools.lab.boot import GUEST_RESULTS, boot
from tools.lab.errors import LabError
from tools.lab.guest import Job
from tools.lab.prepare import Machine, cache_folder, prepare
from tools.lab.process import say
from tools.lab.topology import TOPOLOGIES, load

NO_TESTS = 5
"""Status of pytest that has found no test."""

PASSED_ON = ('PYTEST_', 'COVERAGE_', 'HYPOTHESIS_', 'KURYR_SRIOV_', 'PYTHON')
PASSED_ON_EXACTLY = ('CI', 'COLUMNS', 'FORCE_COLOR', 'NO_COLOR', 'TERM')


def main() -> int:
    """Run what the user asked for; the status is the command's own."""
    options, words = parse(sys.argv[1:])
    try:
        if options.action == 'clean':
            return clean()
        machine = prepare(options.python, REPOSITORY)
        if options.action == 'prepare':
            return 0
        if getattr(options, 'everywhere', False):
            return start_everywhere(options, words, machine)
        return start(options, words, machine)
    except LabError as error:
        print(f'lab: error: {error}', file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print('lab: interrupted', file=sys.stderr)
        return 130


def start(
    options: argparse.Namespace, words: list[str], machine: Machine
) -> int:
    """Boot and run: pytest, a command, or a shell."""
    if options.action == 'test':
        words = pytest_words(options.python, words, options.coverage)
    elif options.action == 'run' and not words:
        raise LabError('no command given', 'python3 -m tools.lab run -- WORDS')
    elif options.action == 'shell' and not sys.stdin.isatty():
        raise LabError('standard input is no terminal', 'use "run -- WORDS"')
    for old in ('junit.xml', '.coverage*', '*.log'):
        for path in options.results.glob(old):
            path.unlink(missing_ok=True)
    begin = time.monotonic()
    status = boot(
        machine,
        load(options.topology),
        Job(
            command=tuple(words),
            environment=environment(),
            repository=REPOSITORY,
            interpreter=options.python,
            results=options.results,
            deadline=getattr(options, 'deadline', None),
            start_deadline=options.start_deadline,
            udev=options.udev,
            kernel_options=tuple(options.kernel_option),
            modules=tuple(options.modules),
            disk=options.disk,
            kept=tuple(options.kept),
        ),
    )
    spent = time.monotonic() - begin
    say(f'ended with status {status} after {spent:.0f} s; {options.results}')
    return status


def start_everywhere(
    options: argparse.Namespace, words: list[str], machine: Machine
) -> int:
    """Run pytest on the default machine, then on each of the others.

    :return: the first status that is not 0. That none of the tests asked
        for is for one of the others is no failure.
    """
    statuses = [start(options, words, machine)]
    results = options.results
    for path in sorted(TOPOLOGIES.glob('*.json')):
        options.topology, options.results = path, results / path.stem
        say(f'on the machine {path.stem}')
        status = start(options, words, machine)
        statuses.append(0 if status == NO_TESTS else status)
    return next((status for status in statuses if status), 0)


def pytest_words(
    interpreter: Path, words: list[str], coverage: bool
) -> list[str]:
    """The pytest command; without a path among the words, ``tests/lab``."""
    paths = [w for w in words if (REPOSITORY / w.split('::')[0]).exists()]
    return [
        str(interpreter),
        *(('-m', 'coverage', 'run') if coverage else ()),
        *('-m', 'pytest', '-o', 'faulthandler_timeout=180'),
        f'--junit-xml={GUEST_RESULTS}/junit.xml',
        *words,
        *([] if paths else ['tests/lab']),
    ]


def environment() -> dict[str, str]:
    """The variables of this shell that the guest's command gets."""
    chosen = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PASSED_ON) or name in PASSED_ON_EXACTLY
    }
    chosen.setdefault('COLUMNS', str(shutil.get_terminal_size().columns))
    chosen['COVERAGE_FILE'] = f'{GUEST_RESULTS}/.coverage'
    if not sys.stdout.isatty():
        # the guest's command always writes to a terminal: no colours there
        chosen['TERM'] = 'dumb'
    return chosen


def clean() -> int:
    """Remove everything that the lab ever left on this machine."""
    if cache_folder().exists():
        shutil.rmtree(cache_folder())
        say(f'removed {cache_folder()}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
