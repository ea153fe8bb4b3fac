# SPDX-License-Identifier: Apache-2.0
"""What can be asked of the lab on its command line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tools.lab.prepare import cache_folder

REPOSITORY = Path(__file__).resolve().parents[2]


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
        '--topology',
        type=Path,
        metavar='FILE',
        help='JSON, or the name of one in tests/lab/topologies; see lab.rst',
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
    test.add_argument(
        '--everywhere',
        action='store_true',
        help='then also on each machine of tests/lab/topologies',
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
