# SPDX-License-Identifier: Apache-2.0
"""Which replica acts: a Lease of ``coordination.k8s.io``.

As client-go has it: a holder that has not renewed for the lease's duration,
by the clock of whoever looks, has lost it. The holder gives up earlier, so
that for the time between nobody acts. The ``kubernetes`` package's own
LeaseLock would load its typed models, 100 MiB, for two requests.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kuryr_sriov import (
    KubernetesSession,
    KuryrSriovError,
    ResourceConflict,
    read_lease,
    write_lease,
)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds.

    :param duration: without a renewal, until others may take the lease.
    :param deadline: without a renewal, until the holder stops acting.
    :param period: between renewals, and between attempts to get it.
    """

    duration: float = 15.0
    deadline: float = 10.0
    period: float = 2.0


class Leadership:
    """One candidate. It can lead once: after a loss, end the process.

    A process that has lost the lease may have a request under way; so it
    ends, rather than to hope that none of its threads wakes up late.

    :param session: with a timeout well below ``timing.deadline``.
    :param identity: differs between all candidates, also after a restart.
    """

    def __init__(
        self,
        session: KubernetesSession,
        namespace: str,
        name: str,
        identity: str,
        timing: Timing = Timing(),
    ) -> None:
        self._session = session
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._timing = timing
        self._acts_until = 0.0
        self._seen: Any = None
        self._seen_at = 0.0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        # What comes before the first look, drivers above all, takes a slow
        # machine minutes.
        self._last_alive = math.inf

    def is_leader(self) -> bool:
        """Whether this process may act right now."""
        return time.monotonic() < self._acts_until

    def is_alive(self) -> bool:
        """Whether ``run`` goes on looking at the lease."""
        patience = 2 * self._timing.duration + 60
        return time.monotonic() - self._last_alive < patience

    def wait_for_lease(self) -> bool:
        """Wait until this process leads; False if it was stopped first."""
        while not self._stopping.is_set():
            if self._try_to_lead():
                LOG.info('%s leads', self.identity)
                return True
            self._wait_period()
        return False

    def renew_until_lost(self) -> None:
        """Renew the lease until it is lost, or ``stop``."""
        while not self._stopping.is_set() and self.is_leader():
            self._wait_period()
            if not self._stopping.is_set():
                self._try_to_lead()

    def stop(self) -> None:
        """End the waiting and the renewing; ``give_up`` what is held."""
        self._stopping.set()

    def give_up(self) -> None:
        """Let the others have it at once, if it is held."""
        with self._lock:
            if not self.is_leader():
                return
            self._acts_until = 0.0
            try:
                lease = read_lease(self._session, self._namespace, self._name)
                if lease and _holder_of(lease) == self.identity:
                    self._write_lease(lease, '')
            except KuryrSriovError as error:
                LOG.warning('the lease ends by itself: %s', error)

    def _wait_period(self) -> None:
        self._stopping.wait(self._timing.period * random.uniform(0.8, 1.2))

    def _try_to_lead(self) -> bool:
        """Get or renew it; whether this process leads now."""
        with self._lock:
            self._last_alive = began = time.monotonic()
            try:
                if self._get_or_renew(began):
                    # Counted from before the request, whose answer may have
                    # taken long.
                    self._acts_until = began + self._timing.deadline
            except ResourceConflict as error:
                LOG.debug('%s', error)  # another one was faster
            except KuryrSriovError as error:
                LOG.warning('%s', error)
            return self.is_leader()

    def _get_or_renew(self, now: float) -> bool:
        lease = read_lease(self._session, self._namespace, self._name)
        if lease is None:
            self._write_lease(None, self.identity)
            return True
        holder = _holder_of(lease)
        spec = lease.get('spec') or {}
        if holder == self.identity:
            self._write_lease(lease, holder)
            return True
        if self.is_leader():
            # somebody took it from us, which the times rule out
            LOG.error('the lease is held by %r', holder)
            self._acts_until = 0.0
            return False
        seen = holder, spec.get('renewTime')
        # By our clock, from the moment the renewal was seen: the holder's
        # clock may be wrong.
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        duration = float(spec.get('leaseDurationSeconds') or 0)
        if holder and now - self._seen_at < duration:
            return False
        self._write_lease(lease, self.identity)
        return True

    def _write_lease(
        self, lease: Mapping[str, Any] | None, holder: str
    ) -> None:
        lease = lease or {}
        old = lease.get('spec') or {}
        now = datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')
        new = holder != old.get('holderIdentity')
        spec = {
            'holderIdentity': holder,
            # 1 once it is given up, as client-go writes: nobody need wait for
            # the rest.
            'leaseDurationSeconds': max(
                1, round(self._timing.duration) if holder else 1
            ),
            'acquireTime': now if new else old.get('acquireTime', now),
            'renewTime': now,
            'leaseTransitions': int(old.get('leaseTransitions') or 0)
            + (new and bool(holder)),
        }
        metadata = lease.get('metadata') or {
            'namespace': self._namespace,
            'name': self._name,
        }
        write_lease(self._session, {'metadata': metadata, 'spec': spec})


def _holder_of(lease: Mapping[str, Any]) -> str:
    return str((lease.get('spec') or {}).get('holderIdentity') or '')
