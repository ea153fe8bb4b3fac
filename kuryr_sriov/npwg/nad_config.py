# SPDX-License-Identifier: Apache-2.0
"""Our annotations of a NetworkAttachmentDefinition."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation
from kuryr_sriov.npwg.annotation import Invalid, read_json, shorten_repr
from kuryr_sriov.npwg.nad_policy import KEYS, read_policy
from kuryr_sriov.spelling import most_similar

KURYR_CONFIG = 'openstack.org/kuryr-config'
"""Annotation: JSON with ``driverType``, ``subnetId``, ``allow`` and the keys
of ``nad_policy``."""

RESOURCE_NAME = 'k8s.v1.cni.cncf.io/resourceName'
"""Annotation: full name of the resource that the VFs come from."""

_OTHERS = 'driverType', 'subnetId', 'allow'

CHOICES = 'ips', 'mac', 'infiniband-guid'
"""Keys of the networks annotation that ``allow`` can leave to pods."""

_RESOURCE = re.compile('[^/]+/[a-zA-Z0-9_-]+')


@dataclass(frozen=True, slots=True)
class NadConfig:
    """One of our NADs.

    :param subnet_ids: one, or two of different IP versions; empty for the
        default of the physnet.
    :param resource: full name; empty for that of the subnet's physnet.
    :param allow: what pods may choose, of ``CHOICES``. Ports are made with
        more rights than a pod's author has: whatever Neutron would refuse
        him is for the NAD's author to give.
    :param policy: what its author says of ports and VFs; None for nothing.
    """

    subnet_ids: tuple[str, ...] = ()
    resource: str = ''
    allow: frozenset[str] = frozenset()
    policy: model.Policy | None = None


def read_nad_config(
    annotations: Mapping[str, str], invalid: Invalid
) -> NadConfig | None:
    """What the annotations say; None for a NAD that is not ours.

    :param invalid: makes the error from what is wrong and the remedy.
    :raises InvalidAnnotation: as ``invalid`` makes it.
    """
    config = _read_ours(annotations, invalid)
    if config is None:
        return None

    def wrong(what: str, remedy: str) -> InvalidAnnotation:
        return invalid(f'{KURYR_CONFIG}: {what}', remedy)

    _refuse_unknown_keys(config, wrong)
    return NadConfig(
        subnet_ids=_read_subnets(config, wrong),
        resource=_read_resource(annotations, invalid),
        allow=_read_allow(config, wrong),
        policy=read_policy(config, wrong),
    )


def _refuse_unknown_keys(config: Mapping[str, Any], wrong: Invalid) -> None:
    """A typo is no policy that is silently not there."""
    known = *_OTHERS, *KEYS
    for name in config:
        if name not in known:
            likely = most_similar(name, known)
            remedy = f'did you mean {likely}?' if likely else 'remove it'
            raise wrong(
                f'there is no key {shorten_repr(name)}',
                f'{remedy} (the keys are {", ".join(known)})',
            )


def _read_ours(
    annotations: Mapping[str, str], invalid: Invalid
) -> Mapping[str, Any] | None:
    """The JSON of a NAD that has the driverType ``sriov``."""

    def wrong(what: str, remedy: str) -> InvalidAnnotation:
        return invalid(f'{KURYR_CONFIG}: {what}', remedy)

    if KURYR_CONFIG not in annotations:
        return None
    config = read_json(annotations[KURYR_CONFIG], wrong)
    if not isinstance(config, dict):
        raise wrong(f'{config!r} is not an object', 'write {...}')
    driver = config.get('driverType')
    if not isinstance(driver, str | None):
        raise wrong(f'driverType {driver!r} is not a string', 'correct it')
    return config if driver == 'sriov' else None


def _read_subnets(
    config: Mapping[str, Any], wrong: Invalid
) -> tuple[str, ...]:
    if 'subnetId' not in config:
        return ()
    given = config['subnetId']
    subnets = given if isinstance(given, list) else [given]
    if (
        not 1 <= len(subnets) <= 2
        or not all(isinstance(subnet, str) and subnet for subnet in subnets)
        or len(set(subnets)) < len(subnets)
    ):
        raise wrong(
            f'subnetId {given!r} is neither an id nor a list of two',
            'write the id of a subnet, or leave it out for the default of '
            'the physnet',
        )
    return tuple(subnets)


def _read_resource(annotations: Mapping[str, str], invalid: Invalid) -> str:
    resource = annotations.get(RESOURCE_NAME, '')
    if resource and not _RESOURCE.fullmatch(resource):
        raise invalid(
            f'{RESOURCE_NAME} {resource!r} is not a full resource name',
            'write PREFIX/NAME, such as intel.com/physnet22',
        )
    return resource


def _read_allow(config: Mapping[str, Any], wrong: Invalid) -> frozenset[str]:
    given = config.get('allow', [])
    if not isinstance(given, list) or not all(
        each in CHOICES for each in given
    ):
        raise wrong(
            f'allow {given!r} is not a list of {" and ".join(CHOICES)}',
            'list what pods may choose, such as ["ips"], or leave it out',
        )
    return frozenset(given)
