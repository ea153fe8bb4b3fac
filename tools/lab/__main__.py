# SPDX-License-Identifier: Apache-2.0
"""The command line of the lab."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from tools.lab.boot import GUEST_RESULTS, boot
from tools.lab.errors import LabError
from tools.lab.guest import Job
from tools.lab.prepare import Machine, cache_folder, prepare
from tools.lab.process import say
from tools.lab.topology import load

REPOSITORY = Path(__file__).resolve().parents[2]
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
        return start(options, words, machine)
    except LabError as error:
        print(f'lab: error: {error}', file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print('lab: interrupted', file=sys.stderr)
        return 130


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of the lab, and the words that are not for the lab.

    Those are what follows ``--``; for ``test`` also what is unknown here.
    """
    own, words = argv, []
    if '--' in argv:
        cut = argv.index('--')
        own, words = argv[:cut], argv[cut + 1 :]
    top = parser()
    options, unknown = top.parse_known_args(own)
    if unknown and options.action != 'test':
        top.error(f'unknown: {" ".join(unknown)}')
    return options, unknown + words


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        '--python',
        type=lambda text: Path(text).absolute(),
        default=default_interpreter(),
        help='interpreter with pytest and the project (default: %(default)s;'
        ' or set KURYR_SRIOV_LAB_PYTHON)',
    )
    runs = argparse.ArgumentParser(add_help=False, parents=[common])
    runs.add_argument(
        '--topology', type=Path, metavar='FILE', help='JSON; see lab.rst'
    )
    runs.add_argument(
        '--results',
        type=lambda text: Path(text).absolute(),
        default=cache_folder() / 'last',
        help='folder for logs and results (default: %(default)s)',
    )
    runs.add_argument(
        '--start-deadline', type=float, default=300, metavar='SECONDS'
    )
    runs.add_argument(
        '--module',
        dest='modules',
        action='append',
        default=[],
        metavar='NAME',
        help='a further module for the kernel; may be repeated',
    )
    runs.add_argument(
        '--disk',
        type=lambda text: Path(text).absolute(),
        metavar='FILE',
        help='image of a disk that outlives the machine; made if missing',
    )
    runs.add_argument(
        '--keep',
        dest='kept',
        action='append',
        default=[],
        metavar='FOLDER',
        help='a folder of the machine that is on that disk; may be repeated',
    )
    runs.add_argument(
        '--kernel-option', action='append', default=[], metavar='WORD'
    )
    runs.add_argument(
        '--no-udev',
        dest='udev',
        action='store_false',
        help='a guest without udev: kernel names stay',
    )
    top = argparse.ArgumentParser(prog='python3 -m tools.lab')
    actions = top.add_subparsers(dest='action', required=True)
    test = actions.add_parser(
        'test',
        parents=[runs],
        allow_abbrev=False,
        usage='%(prog)s [options] [pytest arguments]',
        help='run pytest in the lab',
    )
    test.add_argument(
        '--coverage',
        action='store_true',
        help='measure coverage; data files .coverage.* among the results',
    )
    command = actions.add_parser(
        'run',
        parents=[runs],
        allow_abbrev=False,
        usage='%(prog)s [options] -- command ...',
        help='run a command in the lab',
    )
    for action in (test, command):
        action.add_argument(
            '--deadline', type=float, default=1200, metavar='SECONDS'
        )
    actions.add_parser('shell', parents=[runs], help='a shell in the lab')
    actions.add_parser(
        'prepare', parents=[common], help='only fill the cache folder'
    )
    actions.add_parser('clean', help='remove the cache folder')
    return top


def default_interpreter() -> Path:
    """The project's virtual environment, or what the user chose."""
    chosen = os.environ.get('KURYR_SRIOV_LAB_PYTHON')
    return Path(chosen or REPOSITORY / '.venv/bin/python').absolute()


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
