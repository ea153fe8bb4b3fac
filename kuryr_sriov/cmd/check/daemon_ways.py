# SPDX-License-Identifier: Apache-2.0
"""What the node daemon, which comes with the library, finds of itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from kuryr_sriov.cmd.check.findings import Result, Subject

MODULE = 'kuryr_sriov_daemon.node.ways_check'


def check_ways(subject: Subject) -> Iterator[Result]:
    """Pods come to the CNI plugin by one way; nothing where it is not used."""
    module = importlib.import_module(MODULE)
    for finding in module.examine_ways(subject.conf, subject.connect):
        yield Result(*finding)
