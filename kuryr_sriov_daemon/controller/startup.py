# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov-controller [--config-file kuryr.conf]``."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Sequence

from kuryr_sriov import ConfigurationError, KuryrSriovError, load_config
from kuryr_sriov_daemon.controller.daemon import ControllerDaemon
from kuryr_sriov_daemon.logs import set_up_logging
from kuryr_sriov_daemon.options import register_daemon_options

LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; the exit status.

    0 after SIGTERM, 1 where the lease was lost, 2 for kuryr.conf.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        conf = register_daemon_options(load_config(words))
        set_up_logging(
            conf.sriov_daemon.log_format, conf.sriov_daemon.log_level
        )
        daemon = ControllerDaemon(conf, identity())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: daemon.stop())
        LOG.info('serves health and metrics on port %d', daemon.health.port)
        return daemon.run()
    except ConfigurationError as error:
        for problem in error.problems:
            print(f'kuryr-sriov-controller: {problem}', file=sys.stderr)
        return 2
    except KuryrSriovError as error:
        print(f'kuryr-sriov-controller: {error}', file=sys.stderr)
        return 2


def identity() -> str:
    """A name that no other candidate for the lease has or had."""
    host = os.environ.get('POD_NAME') or socket.gethostname()
    return f'{host}_{uuid.uuid4().hex[:8]}'
