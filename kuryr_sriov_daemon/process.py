# SPDX-License-Identifier: Apache-2.0
"""How a daemon's process begins, and which status it ends with."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from kuryr_sriov import KuryrSriovError, check_config, load_config
from kuryr_sriov_daemon.logs import set_up_logging
from kuryr_sriov_daemon.options import SECTIONS, register_daemon_options

LOG = logging.getLogger(__name__)


class Daemon(Protocol):
    """One of ours."""

    def run(self) -> int:
        """Serve until ``stop``; the exit status."""

    def stop(self) -> None:
        """Have ``run`` end. Safe in a signal handler."""


def run_daemon(
    side: Literal['node', 'controller'],
    make: Callable[[Any], Daemon],
    arguments: Sequence[str] | None = None,
) -> int:
    """Read kuryr.conf, make the daemon of it, and run that until SIGTERM.

    :param arguments: the command line; None for that of this process.
    :return: the exit status: 2 where kuryr.conf or the environment is
        wrong, with a line on standard error for each mistake.
    """
    name = f'kuryr-sriov-{side}'
    words = sys.argv[1:] if arguments is None else arguments
    try:
        conf = register_daemon_options(load_config(words))
        unread = check_config(conf, side, SECTIONS)
        own = conf.sriov_daemon
        set_up_logging(own.log_format, own.log_level)
        for sentence in unread:
            LOG.warning('%s', sentence)
        daemon = make(conf)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: daemon.stop())
        return daemon.run()
    except KuryrSriovError as error:
        for line in str(error).splitlines():
            print(f'{name}: {line}', file=sys.stderr)
        return 2
