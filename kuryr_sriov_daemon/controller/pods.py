# SPDX-License-Identifier: Apache-2.0
"""What is kept of a pod: as little as its networks need."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kuryr_sriov import (
    KuryrSriovError,
    Pod,
    entries_of,
    pod_of,
    wants_networks,
)

ENDED = 'Succeeded', 'Failed'

SHARED = 1024
"""Characters: of longer annotations, which nobody needs, none is kept."""

NETWORKS = 'k8s.v1.cni.cncf.io/networks'


@dataclass(frozen=True, slots=True)
class KeptPod:
    """A pod that names networks, and is on a node.

    :param text: what its networks depend on, as JSON: a string costs a
        tenth of the objects that it stands for.
    :param networks: namespace and name of each that it names; none where
        the annotation cannot be read.
    :param phase: of its status.
    :param deleting: whether its deletion has begun.
    """

    pod: Pod
    text: str
    networks: frozenset[Hashable]
    phase: str
    deleting: bool

    @property
    def ended(self) -> bool:
        """Whether none of its containers runs or will run again."""
        return self.phase in ENDED

    @property
    def digest(self) -> str:
        """Of what its networks depend on."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def body(self) -> dict[str, Any]:
        """The object of the Kubernetes API, without all the rest."""
        body: dict[str, Any] = json.loads(self.text)
        return body | {'status': {'phase': self.phase}}


def keep_pod(body: Mapping[str, Any]) -> KeptPod | None:
    """What is kept of a pod; None for one that cannot have our networks."""
    spec, metadata = body.get('spec') or {}, body['metadata']
    if (
        not spec.get('nodeName')
        or spec.get('hostNetwork')
        or not wants_networks(body)
    ):
        return None
    text = json.dumps(
        _network_parts(metadata, spec), separators=(',', ':'), sort_keys=True
    )
    return KeptPod(
        pod=pod_of(body),
        text=text,
        networks=_networks_of(metadata),
        phase=(body.get('status') or {}).get('phase') or '',
        deleting=bool(metadata.get('deletionTimestamp')),
    )


def _networks_of(metadata: Mapping[str, Any]) -> frozenset[Hashable]:
    """One set for all pods that say the same, as those of a Deployment."""
    annotation = metadata['annotations'][NETWORKS]
    read = _read_networks if len(annotation) > SHARED else _share_networks
    return read(annotation, metadata['namespace'])


def _read_networks(annotation: str, namespace: str) -> frozenset[Hashable]:
    metadata = {'namespace': namespace, 'annotations': {NETWORKS: annotation}}
    try:
        entries = entries_of({'metadata': metadata})
    except KuryrSriovError:
        return frozenset()
    return frozenset((entry.namespace, entry.name) for entry in entries)


_share_networks = functools.lru_cache(maxsize=1024)(_read_networks)


def _network_parts(
    metadata: Mapping[str, Any], spec: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        'metadata': {
            'namespace': metadata['namespace'],
            'name': metadata['name'],
            'uid': metadata['uid'],
            'annotations': {NETWORKS: metadata['annotations'][NETWORKS]},
        },
        'spec': {
            'nodeName': spec['nodeName'],
            'containers': _device_requests(spec.get('containers')),
            'initContainers': _init_requests(spec.get('initContainers')),
        },
    }


def _init_requests(
    containers: Iterable[Mapping[str, Any]] | None,
) -> list[dict[str, Any]]:
    """The same of init containers; a refusal names those that end."""
    return [
        kept
        if 'restartPolicy' in kept
        else {'name': container.get('name', ''), **kept}
        for container in containers or ()
        for kept in _device_requests([container])
    ]


def _device_requests(
    containers: Iterable[Mapping[str, Any]] | None,
) -> list[dict[str, Any]]:
    """The containers that request devices, and nothing else of them."""
    kept = []
    for container in containers or ():
        resources = container.get('resources') or {}
        found = {
            kind: {
                name: quantity
                for name, quantity in (resources.get(kind) or {}).items()
                if '/' in name  # else Kubernetes' own, such as cpu
            }
            for kind in ('requests', 'limits')
        }
        if any(found.values()):
            policy = container.get('restartPolicy')
            kept.append(
                {'resources': found}
                | ({'restartPolicy': policy} if policy else {})
            )
    return kept
