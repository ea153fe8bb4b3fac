# SPDX-License-Identifier: Apache-2.0
"""VIFs that were changed at the network provider while their pods run.

A VF keeps the settings that its VIF had when it was attached. Whoever changes
a port's QoS policy, port security or admin state has to hear of that.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator

from kuryr_sriov import (
    Controller,
    KuryrSriovError,
    PortObject,
    Vif,
)
from kuryr_sriov_daemon.podevents import PodEvent, PodEvents

LOG = logging.getLogger(__name__)

REASON = 'VifChanged'


class ChangedVifs:
    """Compares what was promised with what the provider has.

    :ivar count: how many VIFs differed when they were looked at last.
    """

    def __init__(self, library: Controller, events: PodEvents) -> None:
        self._library = library
        self._events = events
        self.count = 0

    def look(self, ports: Iterable[PortObject]) -> None:
        """Tell the pods whose attached VIFs have changed.

        :raises KuryrSriovError: the provider cannot be asked.
        """
        attached = dict(_list_attached(ports))
        now = self._library.refresh_vifs(
            [vif for vif, _port in attached.values()]
        )
        self.count = 0
        for new in now:
            old, port = attached[new.id]
            differences = list(_list_differences(old, new))
            if not differences:
                continue
            self.count += 1
            note = (
                f'{old.ifname}: {" and ".join(differences)} of VIF {old.id}, '
                'by the network provider; the VF keeps what it was given: '
                'recreate the pod'
            )
            LOG.warning('pod %s: %s', port.pod, note)
            self._events.tell(PodEvent(port.pod, REASON, note, 'CompareVifs'))


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


def _list_differences(old: Vif, new: Vif) -> Iterator[str]:
    for field in dataclasses.fields(Vif):
        before, after = getattr(old, field.name), getattr(new, field.name)
        # whether traffic flows is the condition Active
        if field.name != 'active' and before != after:
            yield f'{field.name} is {_word(after)}, was {_word(before)}'


def _word(value: object) -> str:
    return 'unset' if value is None else str(value)
