# SPDX-License-Identifier: Apache-2.0
"""How long the cluster's tests wait, and how often they look."""

from __future__ import annotations

from collections.abc import Callable

from servers import wait_for

SECONDS = 600.0
"""For what a cluster does by itself, on a busy host with an emulated
processor."""

PAUSE = 0.5
"""Seconds between two looks: each takes the node's processor from what is
waited for."""


def wait_until(
    condition: Callable[[], object], what: str, timeout: float = SECONDS
) -> None:
    """Return once the condition holds.

    :raises RuntimeError: it did not within ``timeout`` seconds.
    """
    wait_for(condition, timeout, what, PAUSE)
