# SPDX-License-Identifier: Apache-2.0
"""VIFs that were changed at the network provider while their pods run.

Rates, spoof check, link state and trust reach the VF: they are published in
the port object, which the pod's node follows. For all else the pod has to be
made again, and whoever runs it has to hear of that.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping

from kuryr_sriov import (
    Controller,
    Kubernetes,
    KuryrSriovError,
    PortObject,
    Vif,
)
from kuryr_sriov_daemon.controller.portcache import PortObjects
from kuryr_sriov_daemon.podevents import PodEvent, PodEvents

LOG = logging.getLogger(__name__)

REASON, ACTION = 'VifChanged', 'CompareVifs'


class ChangedVifs:
    """Compares what was promised with what the provider has. Thread-safe.

    :ivar count: how many VIFs differed when they were looked at last.
    """

    def __init__(
        self,
        library: Controller,
        kubernetes: Kubernetes,
        ports: PortObjects,
        events: PodEvents,
    ) -> None:
        self._library = library
        self._kubernetes = kubernetes
        self._ports = ports
        self._events = events
        self._lock = threading.Lock()
        self._newer: Mapping[str, Mapping[str, Vif]] = {}
        self.count = 0

    def look(self, ports: Iterable[PortObject]) -> tuple[str, ...]:
        """Tell the pods whose attached VIFs have changed.

        :return: uids of the pods for which ``publish`` has something to do.
        :raises KuryrSriovError: the provider cannot be asked.
        """
        attached = dict(_list_attached(ports))
        now = self._library.refresh_vifs(
            [vif for vif, _port in attached.values()]
        )
        count = 0
        newer: dict[str, dict[str, Vif]] = {}
        for new in now:
            old, port = attached[new.id]
            count += self._tell_changes(old, new, port)
            if old.adopt_settings(new) != old:
                newer.setdefault(port.pod.uid, {})[new.id] = new
        self.count = count
        with self._lock:
            self._newer = newer
        return tuple(newer)

    def publish(self, port: PortObject) -> PortObject:
        """The port object, with the settings that VIFs have by now.

        The one who looks after the pod calls it, so that nobody else
        publishes its VIFs meanwhile.
        """
        with self._lock:
            newer = self._newer.get(port.pod.uid, {})
        if not newer:
            return port
        before = port.vifs
        vifs = tuple(
            vif.adopt_settings(newer[vif.id]) if vif.id in newer else vif
            for vif in before
        )
        if vifs == before:
            return port
        return self._ports.put(
            self._kubernetes.publish(port.pod, vifs, port.request)
        )

    def _tell_changes(self, old: Vif, new: Vif, port: PortObject) -> bool:
        """Whether there are any."""
        followed = old.adopt_settings(new)
        reaches = list(_list_differences(old, followed))
        differs = list(_list_differences(followed, new))
        if reaches:
            note = _describe_changes(
                old, reaches, 'its node has the VF follow'
            )
            LOG.info('pod %s: %s', port.pod, note)
            self._events.tell(
                PodEvent(port.pod, REASON, note, ACTION, 'Normal')
            )
        if differs:
            remedy = 'the VF keeps what it was given: recreate the pod'
            note = _describe_changes(old, differs, remedy)
            LOG.warning('pod %s: %s', port.pod, note)
            self._events.tell(PodEvent(port.pod, REASON, note, ACTION))
        return bool(reaches or differs)


def _list_attached(
    ports: Iterable[PortObject],
) -> Iterator[tuple[str, tuple[Vif, PortObject]]]:
    """By id; one that is not attached yet has nothing to lose."""
    for port in ports:
        reported = {one.vif_id for one in port.attachments}
        try:
            vifs = port.vifs
        except KuryrSriovError as error:
            LOG.warning('%s', error)
            continue
        for vif in vifs:
            if vif.id in reported:
                yield vif.id, (vif, port)


def _describe_changes(vif: Vif, changes: list[str], remedy: str) -> str:
    return (
        f'{vif.ifname}: {" and ".join(changes)} of VIF {vif.id}, by the '
        f'network provider; {remedy}'
    )


def _list_differences(old: Vif, new: Vif) -> Iterator[str]:
    for field in dataclasses.fields(Vif):
        before, after = getattr(old, field.name), getattr(new, field.name)
        # whether traffic flows is the condition Active
        if field.name != 'active' and before != after:
            yield f'{field.name} is {_word(after)}, was {_word(before)}'


def _word(value: object) -> str:
    return 'unset' if value is None else str(value)
