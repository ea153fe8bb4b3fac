# SPDX-License-Identifier: Apache-2.0
"""How long a request of the runtime may take, and what parts of it may.

Whoever asks waits longer than whoever answers, so that what is told is the
reason, and not that time is over: the kubelet waits two minutes for the
runtime, the CNI plugin a little less for this daemon, and this daemon less
again for all that a request needs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from kuryr_sriov import ConfigurationError, TransientError

PLUGIN = 110.0
"""Seconds that the CNI plugin waits (``DEADLINE`` in cni/plugin.c)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """In seconds.

    :param request: for a request as a whole.
    :param vifs: for the controller to promise the pod's VIFs.
    :param active: for the ports to become active; 0 for not at all.
    """

    request: float = 100.0
    vifs: float = 60.0
    active: float = 0.0


def read_limits(conf: Any) -> Limits:
    """Those of ``[sriov_node]``.

    :raises ConfigurationError: they do not fit into each other.
    """
    own, attachment = conf.sriov_node, conf.sriov.attachment_timeout
    request, vifs = own.request_timeout, own.vifs_timeout
    problems = []
    if request >= PLUGIN:
        problems.append(
            f'[sriov_node] request_timeout: {request:g} s is too long, since '
            f'the CNI plugin waits {PLUGIN:g} s for an answer; choose less.'
        )
    if vifs + own.active_timeout >= request:
        problems.append(
            f'[sriov_node] vifs_timeout ({vifs:g} s) and active_timeout '
            f'({own.active_timeout:g} s) leave nothing of request_timeout '
            f'({request:g} s) for attaching VFs; choose less for one of the '
            'two.'
        )
    if attachment > request:
        problems.append(
            f'[sriov] attachment_timeout: {attachment:g} s do not fit into '
            f'[sriov_node] request_timeout, {request:g} s; choose less.'
        )
    if problems:
        raise ConfigurationError(problems)
    return Limits(request, vifs, own.active_timeout)


class Deadline:
    """The end of one request.

    :param seconds: that it has, from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def at_most(self, seconds: float) -> float:
        """When a wait of so many seconds is over, on the monotonic clock."""
        return min(self._end, time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds that are left.

        :raises TransientError: none is.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TransientError(
                f'the {self._seconds:g} s of [sriov_node] request_timeout are '
                'over; the log says what took so long'
            )
        return left
