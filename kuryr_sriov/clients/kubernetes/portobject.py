# SPDX-License-Identifier: Apache-2.0
"""``KuryrSriovPort`` of ``openstack.org/v1``: the promise and the report.

One for each pod, named by the pod's uid. Its spec is what the controller
promises to the node, its status what the node reports, and what the
controller made of that. ``deploy/base/crd.yaml`` has its schema.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Literal, cast

from kuryr_sriov import codec, model
from kuryr_sriov.exceptions import PermanentError

KIND = 'KuryrSriovPort'
FINALIZER = 'openstack.org/kuryr-sriov'
"""Keeps the object until the provider has its VIFs back."""

REQUESTED, ATTACHED, ACTIVE = 'Requested', 'Attached', 'Active'
"""Types of conditions; the node's is Attached, the controller's the others."""

Status = Literal['True', 'False', 'Unknown']


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, as Kubernetes defines it.

    :param reason: one word in CamelCase.
    :param since: ``lastTransitionTime``, RFC 3339.
    """

    status: Status
    reason: str
    message: str = ''
    since: str = ''

    def says(self, other: Condition | None) -> bool:
        """Whether ``other`` says the same, at whatever time."""
        return other is not None and (
            self.status,
            self.reason,
            self.message,
        ) == (other.status, other.reason, other.message)


@dataclass(frozen=True, slots=True)
class ReportedAttachment:
    """What the node reports of one VIF."""

    interface: str
    vif_id: str
    location: model.Location
    driver: str = ''
    pf: str = ''
    attached_at: str = ''
    message: str = ''


@dataclass(frozen=True, slots=True)
class PortObject:
    """What we need of a port object.

    :param pod: its pod, on the node that the VIFs were made for.
    :param request: digest of what the VIFs were made from.
    :param vifs_json: the VIFs; see ``vifs``.
    :param activated: PCI address by VIF id: what the controller has told
        the provider.
    :param found: on a node that is a VM: ids of the ports that its VFs are,
        by interface, of which it asks what the provider says.
    :param deleting: whether it goes once its finalizers are gone.
    """

    pod: model.Pod
    request: str = ''
    vifs_json: str = '[]'
    attachments: tuple[ReportedAttachment, ...] = ()
    activated: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    found: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    deleting: bool = False
    resource_version: str = ''

    @property
    def vifs(self) -> tuple[model.Vif, ...]:
        """What was promised.

        :raises PermanentError: it cannot be read.
        """
        return codec.from_json(
            tuple[model.Vif, ...],
            self.vifs_json,
            lambda why: PermanentError(
                f'{KIND} {self.pod.namespace}/{self.pod.uid} cannot be read: '
                f'{why}; delete it, and the controller makes it again'
            ),
        )

    @property
    def reported_vifs(self) -> tuple[model.Vif, ...]:
        """The VIFs, with the ids that the node has found out.

        On a node that is a VM, which port it is follows from the VF.
        """
        found = {one.interface: one.vif_id for one in self.attachments}
        return tuple(
            dataclasses.replace(vif, id=found.get(vif.ifname, ''))
            if vif.is_promise
            else vif
            for vif in self.vifs
        )

    @property
    def networks(self) -> frozenset[str]:
        """Of the VIFs; none where they cannot be read."""
        try:
            return frozenset(vif.network for vif in self.vifs)
        except PermanentError:
            return frozenset()

    @property
    def promises(self) -> bool:
        """Whether there are VIFs."""
        return self.vifs_json not in ('[]', 'null')

    @property
    def is_unconfirmed(self) -> bool:
        """Whether the provider has yet to say that traffic flows."""
        active = self.conditions.get(ACTIVE)
        return active is not None and active.status == 'Unknown'


def read_port_object(body: Mapping[str, Any]) -> PortObject:
    """The port object that a Kubernetes object describes.

    The controller keeps thousands: what many of them say, such as a node, a
    reason or a PF, is one string for all.
    """
    metadata = body['metadata']
    spec, status = body.get('spec') or {}, body.get('status') or {}
    pod = model.Pod(
        metadata['namespace'],
        spec.get('podName', ''),
        metadata['name'],
        _text_of(spec, 'podNodeName'),
    )
    return PortObject(
        pod=pod,
        request=spec.get('requestDigest', ''),
        vifs_json=json.dumps(spec.get('vifs'), separators=(',', ':')),
        attachments=tuple(
            _attachment_of(one, pod.node)
            for one in status.get('attachments') or ()
        ),
        activated={
            intern(one['vifId']): _text_of(one, 'pciAddress')
            for one in status.get('activated') or ()
        },
        found={
            one['interface']: one['vifId'] for one in status.get('found') or ()
        },
        conditions={
            intern(one['type']): Condition(
                cast(Status, intern(one['status'])),
                _text_of(one, 'reason'),
                _text_of(one, 'message'),
                one.get('lastTransitionTime', ''),
            )
            for one in status.get('conditions') or ()
        },
        finalizers=tuple(map(intern, metadata.get('finalizers') or ())),
        deleting=bool(metadata.get('deletionTimestamp')),
        resource_version=metadata.get('resourceVersion', ''),
    )


def promise_body(
    pod: model.Pod, vifs: Iterable[model.Vif], request: str
) -> dict[str, Any]:
    """The object by which the controller promises VIFs to a pod's node."""
    owner = {
        'apiVersion': 'v1',
        'kind': 'Pod',
        'name': pod.name,
        'uid': pod.uid,
    }
    # Without blockOwnerDeletion, which would need the right to change the
    # finalizers of pods.
    metadata = {'ownerReferences': [owner], 'finalizers': [FINALIZER]}
    promised = tuple(vifs)
    spec = {
        'podName': pod.name,
        'podUid': pod.uid,
        'podNodeName': pod.node,
        # A column of kubectl shows the first element of a list only.
        'interfaces': ','.join(vif.ifname for vif in promised),
        'requestDigest': request,
        'vifs': codec.to_builtins(promised),
    }
    return _make_body(pod, metadata) | {'spec': spec}


def report_body(
    pod: model.Pod,
    attachments: Iterable[ReportedAttachment],
    condition: Condition,
) -> dict[str, Any]:
    """The status by which the node reports what it has attached."""
    shown = [
        {
            'interface': one.interface,
            'vifId': one.vif_id,
            'pciAddress': one.location.pci_slot,
            'pciVendorInfo': one.location.pci_vendor_info,
            'pfPciAddress': one.pf,
            'physicalNetwork': one.location.physical_network,
            'driver': one.driver,
            'attachedAt': one.attached_at,
            'message': one.message,
        }
        for one in attachments
    ]
    return _make_body(pod, {}) | {
        'status': {
            'attachments': [
                {key: value for key, value in one.items() if value}
                for one in shown
            ],
            'conditions': [_condition_body(ATTACHED, condition)],
        }
    }


def found_body(pod: model.Pod, found: Mapping[str, str]) -> dict[str, Any]:
    """The status by which a node tells which ports its VFs are."""
    return _make_body(pod, {}) | {
        'status': {
            'found': [
                {'interface': ifname, 'vifId': port_id}
                for ifname, port_id in sorted(found.items())
            ]
        }
    }


def verdict_body(
    pod: model.Pod,
    conditions: Mapping[str, Condition],
    activated: Mapping[str, str],
) -> dict[str, Any]:
    """The status by which the controller tells what it did."""
    return _make_body(pod, {}) | {
        'status': {
            'activated': [
                {'vifId': vif_id, 'pciAddress': pci}
                for vif_id, pci in sorted(activated.items())
            ],
            'conditions': [
                _condition_body(kind, condition)
                for kind, condition in conditions.items()
            ],
        }
    }


def _make_body(pod: model.Pod, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'apiVersion': 'openstack.org/v1',
        'kind': KIND,
        'metadata': {
            'namespace': pod.namespace,
            'name': pod.uid,
            **metadata,
        },
    }


def _condition_body(kind: str, condition: Condition) -> dict[str, str]:
    return {
        'type': kind,
        'status': condition.status,
        'reason': condition.reason,
        # the schema of metav1.Condition: at most 32768
        'message': condition.message[:32768],
        'lastTransitionTime': condition.since,
    }


def _text_of(body: Mapping[str, Any], key: str) -> str:
    """One string for all objects that say the same."""
    return intern(body.get(key) or '')


def _attachment_of(one: Mapping[str, Any], node: str) -> ReportedAttachment:
    return ReportedAttachment(
        interface=_text_of(one, 'interface'),
        vif_id=_text_of(one, 'vifId'),
        location=model.Location(
            node=node,
            pci_slot=_text_of(one, 'pciAddress'),
            pci_vendor_info=_text_of(one, 'pciVendorInfo'),
            physical_network=_text_of(one, 'physicalNetwork'),
        ),
        driver=_text_of(one, 'driver'),
        pf=_text_of(one, 'pfPciAddress'),
        attached_at=one.get('attachedAt', ''),
        message=one.get('message', ''),
    )
