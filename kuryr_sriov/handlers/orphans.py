# SPDX-License-Identifier: Apache-2.0
"""VIFs that nobody will ever release: found with care, and given back.

A pod is gone when the host has asked for that very pod and it is not there.
A list that is empty or has shrunk proves nothing: it is what a fault of the
API server, of credentials or of a filter looks like.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers import base

LOG = logging.getLogger(__name__)

IsThere = Callable[[model.Pod], bool]
"""Whether the API server has the pod of that namespace, name and uid."""

HANDFUL = 10
"""So many pods may always be gone, whatever share of all that is."""


class OrphanCollector:
    """Gives back the VIFs of pods that are gone, and doubles.

    :param grace: seconds for which a VIF is left alone.
    :param limit: per cent of the pods that may be gone at once.
    """

    def __init__(
        self, driver: base.PodVIFDriver, grace: float, limit: float
    ) -> None:
        self._driver = driver
        self._grace = grace
        self._limit = limit

    def collect(self, is_there: IsThere) -> tuple[str, ...]:
        """Ids of what was given back; what cannot be is left for next time.

        :param is_there: an error of it is no proof, and is raised.
        :raises OrphansRefused: too many pods seem to be gone.
        """
        pods: dict[str, list[model.OwnedVif]] = defaultdict(list)
        for owned in self._driver.list_vifs():
            pods[owned.pod.uid].append(owned)
        gone: list[list[model.OwnedVif]] = []
        doubles: list[model.OwnedVif] = []
        for vifs in pods.values():
            if self._is_gone(vifs, is_there):
                gone.append(vifs)
            else:
                doubles += self._find_doubles(vifs)
        allowed = max(HANDFUL, len(pods) * self._limit / 100)
        if len(gone) > allowed:
            raise exceptions.OrphansRefused(
                f'{len(gone)} of {len(pods)} pods that have VIFs seem to be '
                'gone, which is too many to be true: nothing was given back; '
                'see whether the API server and the cluster are the right '
                'ones, and if so, raise [sriov] orphan_limit for once'
            )
        orphans = [owned for vifs in gone for owned in vifs]
        return self._release_all([*doubles, *orphans])

    def _is_gone(
        self, vifs: Sequence[model.OwnedVif], is_there: IsThere
    ) -> bool:
        """Whether the pod is proven to be gone, and its VIFs are unused."""
        pod = vifs[0].pod
        if any(owned.age < self._grace for owned in vifs):
            return False  # the pod may be younger than any answer about it
        if not (pod.namespace and pod.name):
            LOG.warning(
                'VIF %s is kept: the provider does not tell of which pod it '
                'is but for the uid %s',
                vifs[0].vif.id,
                pod.uid,
            )
            return False
        if is_there(pod):
            return False
        for owned in vifs:
            if owned.in_use:
                LOG.warning(
                    'VIF %s is kept: pod %s (uid %s) is gone, but its VF is '
                    'in use; see what runs on its node',
                    owned.vif.id,
                    pod,
                    pod.uid,
                )
                return False
        return True

    def _find_doubles(
        self, vifs: Sequence[model.OwnedVif]
    ) -> Iterable[model.OwnedVif]:
        """VIFs of an interface that has another one, whose VF is known.

        A request whose answer was lost made one of them. Which one is not
        known before one has a VF; so long both are kept.
        """
        placed = {owned.vif.ifname for owned in vifs if owned.placed} - {''}
        return [
            owned
            for owned in vifs
            if owned.vif.ifname in placed
            and not owned.placed
            and not owned.in_use
            and owned.age >= self._grace
        ]

    def _release_all(self, vifs: Sequence[model.OwnedVif]) -> tuple[str, ...]:
        released = []
        for owned in vifs:
            try:
                self._driver.release_vif(owned)
                released.append(owned.vif.id)
            except exceptions.KuryrSriovError as error:
                LOG.warning('orphaned VIF %s stays: %s', owned.vif.id, error)
        return tuple(released)
