# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov``: its subcommands, and how it ends.

Exit status 0 for success, 1 for a problem that is told, 2 for a command line
that cannot be understood.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from kuryr_sriov import exceptions

COMMANDS = {
    'check': (
        'check.preflight',
        'say whether this node and its kuryr.conf are ready',
    ),
    'inventory': (
        'inventory.survey',
        "list this node's PFs and VFs, and the pods that have them",
    ),
    'pod': (
        'pod_story.telling',
        "tell one pod's story, and what is wrong with its VFs",
    ),
    'repair': (
        'repair.mending',
        'list what is owed or stuck; retry, reset or forget one record',
    ),
    'demo': ('demo.play', 'play the SR-IOV how-to on a simulated node'),
}
"""Module of each, with ``add_arguments`` and ``run``, and its help."""

DAEMON_COMMANDS = {
    'uninstall': (
        'kuryr_sriov_daemon.node.uninstall',
        'take this node out of the CNI configuration',
    ),
}
"""Those of the reference daemon, which comes with the library."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    :param argv: without the program's name; None for the process's own.
    :return: the exit status.
    """
    args = _build_parser().parse_args(argv)
    if args.debug:
        logging.basicConfig(level=logging.DEBUG)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except exceptions.KuryrSriovError as error:
        for line in _error_lines(error):
            print(f'kuryr-sriov: {line}', file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has gone; let the interpreter's last flush succeed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT
    return status


def _error_lines(error: BaseException) -> Iterator[str]:
    yield from str(error).splitlines()
    for note in getattr(error, '__notes__', ()):
        yield from note.splitlines()


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='kuryr-sriov',
        description='SR-IOV virtual functions for Kubernetes pods.',
    )
    parser.add_argument(
        '--version',
        action='version',
        version=f'%(prog)s {importlib.metadata.version("kuryr-sriov")}',
    )
    commands = parser.add_subparsers(
        title='commands',
        required=True,
        metavar='COMMAND',
        parser_class=_Command,
    )
    for name, (module, text) in COMMANDS.items():
        full = f'kuryr_sriov.cmd.{module}'
        commands.add_parser(name, help=text).set_defaults(module=full)
    for name, (full, text) in DAEMON_COMMANDS.items():
        commands.add_parser(name, help=text).set_defaults(module=full)
    return parser


class _Command(argparse.ArgumentParser):
    """The parser of a subcommand; imports its module when it is chosen."""

    def parse_known_args(self, *args: Any, **named: Any) -> Any:
        module = importlib.import_module(self.get_default('module'))
        self.description = (module.__doc__ or '').replace('``', '')
        self.set_defaults(run=module.run)
        module.add_arguments(self)
        self.add_argument(
            '--json', action='store_true', help='print JSON, for programs'
        )
        self.add_argument(
            '--debug', action='store_true', help='log to standard error'
        )
        return super().parse_known_args(*args, **named)
