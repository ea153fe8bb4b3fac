# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov-controller [--config-file kuryr.conf]``."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence

from kuryr_sriov_daemon.controller.controller_daemon import ControllerDaemon
from kuryr_sriov_daemon.process import run_daemon


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; the exit status.

    0 after SIGTERM, 1 where the lease was lost, 2 for kuryr.conf.
    """
    return run_daemon(
        'controller',
        lambda conf: ControllerDaemon(conf, make_identity()),
        arguments,
    )


def make_identity() -> str:
    """A name that no other candidate for the lease has or had."""
    host = os.environ.get('POD_NAME') or socket.gethostname()
    return f'{host}_{uuid.uuid4().hex[:8]}'
