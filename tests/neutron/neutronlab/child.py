# SPDX-License-Identifier: Apache-2.0
"""A controller in a process of its own, to be killed by a test."""

from __future__ import annotations

import multiprocessing
import pathlib
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

from kuryr_sriov import model

from .kuryr import load_driver, location

# forked from a process that has everything imported: a start costs nothing,
# and no thread of the test's process is copied
_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload(['neutronlab.child'])


def live_a_life(
    conf: pathlib.Path,
    pod: model.Pod,
    requests: Sequence[model.NetworkRequest],
) -> BaseProcess:
    """Start a controller that requests, activates and releases."""
    process = _context.Process(
        target=_live, args=(conf, pod, requests), daemon=True
    )
    process.start()
    return process


def _live(
    conf: pathlib.Path,
    pod: model.Pod,
    requests: Sequence[model.NetworkRequest],
) -> None:
    driver = load_driver(conf)
    vifs = driver.request_vifs(pod, requests)
    for vif in vifs:
        driver.activate_vif(pod, vif, location(vif))
    driver.release_vifs(pod)
