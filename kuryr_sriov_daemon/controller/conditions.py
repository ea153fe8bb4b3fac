# SPDX-License-Identifier: Apache-2.0
"""What the controller says of a port object, and when that has changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime

from kuryr_sriov import Condition, Location, PortObject, Vif

REQUESTED, ACTIVE = 'Requested', 'Active'
NOT_ACTIVE = 'NotActive'

MET = Condition('True', 'Promised', 'The network provider has made the VIFs.')
NOT_ATTACHED = Condition(
    'False',
    'NotAttached',
    'The node has not reported a VF for each VIF.',
)
ACTIVATED = Condition(
    'True', 'Activated', 'The network provider says that traffic flows.'
)
UNCONFIRMED = Condition(
    'Unknown',
    'Unconfirmed',
    'The network provider knows the VFs, and has not said that traffic flows.',
)
NO_VIFS = Condition('False', 'NoVifs', 'There are no VIFs to activate.')
NOT_OURS = Condition(
    'True', 'NotOurs', 'None of the networks of the pod is one of SR-IOV.'
)


def not_active(vif: Vif, place: Location, timeout: float) -> Condition:
    """The condition for a VIF whose traffic does not flow in its time."""
    return dataclasses.replace(
        UNCONFIRMED,
        reason=NOT_ACTIVE,
        message=f'{vif.ifname}: the network provider has not said for '
        f'{timeout:g} s that traffic flows: see whether its agent on host '
        f'{place.node} runs, and sees VF {place.pci_slot} with MAC {vif.mac} '
        'in use',
    )


def failure_of(error: Exception) -> Condition:
    """The condition for what could not be done."""
    return Condition('False', type(error).__name__, str(error))


def says_all(port: PortObject, wanted: Mapping[str, Condition]) -> bool:
    """Whether the object says all that already."""
    return all(
        one.says(port.conditions.get(kind)) for kind, one in wanted.items()
    )


def merge_conditions(
    port: PortObject, wanted: Mapping[str, Condition]
) -> dict[str, Condition]:
    """The controller's conditions, all of them.

    Server-side apply takes away what it is not told again.
    """
    ours = {
        kind: one
        for kind, one in port.conditions.items()
        if kind in (REQUESTED, ACTIVE)
    }
    now = datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
    for kind, one in wanted.items():
        old = ours.get(kind)
        kept = old is not None and old.status == one.status
        since = old.since if old is not None and kept else now
        ours[kind] = dataclasses.replace(one, since=since)
    return ours
