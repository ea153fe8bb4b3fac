# SPDX-License-Identifier: Apache-2.0
"""Options of ``[neutron]`` beside keystoneauth's, and what they mean.

Those that kuryr-kubernetes 6 had in ``[neutron_defaults]`` are still read
from there.
"""

from __future__ import annotations

import re
from typing import Any

from oslo_config import cfg

from kuryr_sriov import exceptions
from kuryr_sriov.clients import neutron_session
from kuryr_sriov.config.options import Pairs, pairs_option
from kuryr_sriov.drivers.neutron import host_names
from kuryr_sriov.drivers.neutron.port_body import Defaults

_NAMESPACE = re.compile('[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?')
_ID = re.compile('[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}')
"""Of a project (Keystone writes it without dashes) or a security group."""


class _NamespaceIds(Pairs):
    """Ids by namespace; a name would be a port that Neutron refuses."""

    def __init__(self, many: bool) -> None:
        super().__init__()
        self._many = many

    def __call__(self, value: Any) -> dict[str, Any]:
        pairs = super().__call__(value)
        for namespace, text in pairs.items():
            if not _NAMESPACE.fullmatch(namespace):
                raise ValueError(f'{namespace!r} is not a namespace')
            ids = text.split()
            if not all(map(_ID.fullmatch, ids)):
                raise ValueError(f'{text!r} ({namespace}) is not an id')
            if len(ids) > 1 and not self._many:
                raise ValueError(f'{namespace} has {len(ids)} ids')
        return pairs


_OWN = (
    cfg.StrOpt(
        'cloud',
        help='Name of a cloud in clouds.yaml, to be used instead of the '
        'keystoneauth options of this section.',
    ),
    cfg.StrOpt(
        'cluster',
        default='',
        regex=r'^[A-Za-z0-9._-]{0,38}$',
        help='Name of this Kubernetes cluster, with which its ports are '
        'tagged. A host that does not tell the uid of the namespace '
        'kube-system (the daemon does) knows its ports by it: then it has to '
        'be different for each cluster that uses the project, and without it '
        'ports of pods that are gone are not collected.',
    ),
    cfg.ListOpt(
        'resource_tags',
        default=[],
        deprecated_group='neutron_defaults',
        help='Tags of every port, beside that of the cluster.',
    ),
    cfg.StrOpt(
        'port_project',
        default='',
        deprecated_group='neutron_defaults',
        deprecated_name='project',
        help='Project of the ports; empty for that of the credentials.',
    ),
    cfg.ListOpt(
        'security_groups',
        default=[],
        deprecated_group='neutron_defaults',
        deprecated_name='pod_security_groups',
        help='Ids of the security groups of the ports; empty for the '
        "project's default group.",
    ),
    *host_names.OPTIONS,
    pairs_option(
        'namespace_projects',
        'Project of the ports of pods of a namespace, in place of '
        'port_project: blue:PROJECT_ID,red:PROJECT_ID.',
        _NamespaceIds(many=False),
    ),
    pairs_option(
        'namespace_security_groups',
        'Ids of the security groups of the ports of pods of a namespace, in '
        'place of security_groups: blue:GROUP_ID GROUP_ID,red:GROUP_ID. A '
        'namespace of namespace_projects that is not here has the default '
        'group of its project.',
        _NamespaceIds(many=True),
    ),
    cfg.BoolOpt(
        'port_security_enabled',
        help='Port security of the ports. Off: no security groups, and no '
        'spoof check of the VF. Not set: as the network has it.',
    ),
    cfg.StrOpt(
        'qos_policy',
        default='',
        help='Id of the QoS policy of the ports; empty for that of the '
        'network, if any.',
    ),
    cfg.BoolOpt(
        'propagate_uplink_status',
        help="Whether the VF's link follows the PF's. Not set: as Neutron "
        'has it.',
    ),
    cfg.ListOpt(
        'trusted_physnets',
        default=[],
        help='Physical networks whose VFs are trusted: the pod may change '
        "the VF's MAC address and enter promiscuous mode.",
    ),
    cfg.DictOpt(
        'active_timeouts',
        default={},
        help='Resources whose ports must become ACTIVE, with the seconds to '
        'wait for it: intel.com/physnet22:30. Only for resources with '
        "userspace drivers: Neutron's SR-IOV agent does not see a kernel "
        'VF in a pod.',
    ),
    cfg.IntOpt(
        'cache_ttl',
        default=300,
        min=0,
        help='Seconds for which subnets, networks and QoS policies are '
        'remembered.',
    ),
)


def all_options() -> tuple[Any, ...]:
    """Every option of the section."""
    return (*neutron_session.list_options(), *_OWN)


def read_defaults(conf: Any, cluster: str) -> Defaults:
    """What every port gets.

    :param cluster: uid of the cluster; empty where the host does not tell.
    """
    return Defaults(
        cluster=cluster or conf.cluster or '',
        cluster_name=conf.cluster or '',
        tags=tuple(conf.resource_tags),
        project=conf.port_project or '',
        security_groups=tuple(conf.security_groups),
        namespace_projects=dict(conf.namespace_projects),
        namespace_security_groups={
            namespace: tuple(ids.split())
            for namespace, ids in conf.namespace_security_groups.items()
        },
        port_security=conf.port_security_enabled,
        qos_policy=conf.qos_policy or '',
        propagate_uplink_status=conf.propagate_uplink_status,
        trusted_physnets=frozenset(conf.trusted_physnets),
    )


def read_host_names(conf: Any) -> host_names.HostNames:
    """What Neutron calls the nodes."""
    return host_names.HostNames(conf.host_template, dict(conf.node_hosts))


def active_timeouts(conf: Any) -> dict[str, float]:
    """Resource to seconds.

    :raises ConfigurationError: a value is no positive number.
    """
    found: dict[str, float] = {}
    problems = []
    for resource, text in conf.active_timeouts.items():
        try:
            found[resource] = float(text)
        except ValueError:
            found[resource] = 0
        if not 0 < found[resource] < float('inf'):
            problems.append(
                f'[neutron] active_timeouts: {resource}:{text}: give the '
                'seconds to wait, as in intel.com/physnet22:30'
            )
    if problems:
        raise exceptions.ConfigurationError(problems)
    return found
