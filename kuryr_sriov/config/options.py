# SPDX-License-Identifier: Apache-2.0
"""The options of ``[sriov]`` in kuryr.conf."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg, types

GROUP = 'sriov'


class _Pairs(types.Dict):
    """``NAME:VALUE`` pairs, comma-separated; refused rather than guessed.

    oslo.config's own type takes ``a:1,b,c:2`` for two pairs, the second
    called ``b,c``.
    """

    def __call__(self, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        pairs: dict[str, str] = {}
        wrong = []
        for part in value.split(',') if value.strip() else ():
            name, _, item = map(str.strip, part.partition(':'))
            if not part.strip():
                wrong.append('there is a comma too many')
            elif not (name and item):
                wrong.append(f'{part.strip()!r} is not NAME:VALUE')
            elif name in pairs:
                wrong.append(f'{name!r} is there twice')
            pairs[name] = item
        if wrong:
            raise ValueError(', '.join(wrong))
        return pairs


def _pairs(name: str, text: str) -> cfg.Opt:
    # a DictOpt, so that the documentation calls it one
    option = cfg.DictOpt(name, default={}, help=text)
    option.type = _Pairs()
    return option


OPTIONS = (
    cfg.StrOpt(
        'kubelet_root_dir',
        default='/var/lib/kubelet',
        help="The kubelet's root directory, as this process sees it. Its "
        'pod-resources directory (not the socket in it) has to be mounted '
        'into a container that runs the node side.',
    ),
    cfg.BoolOpt(
        'enable_pod_resource_service',
        default=False,
        help="Ask the kubelet's PodResources service which VFs it "
        'allocated to a pod. Otherwise the daemon that embeds this library '
        "tells, or else the kubelet's checkpoint file.",
    ),
    _pairs(
        'default_physnet_subnets',
        'The subnet for each physnet, for networks whose '
        'NetworkAttachmentDefinition names none: '
        'physnet22:SUBNET_ID,physnet23:SUBNET_ID. The ids are UUIDs where '
        'vif_driver is neutron.',
    ),
    _pairs(
        'physnet_resource_mappings',
        "The device plugin's resource for each physnet, without its "
        'prefix: physnet22:RESOURCE,physnet23:RESOURCE. If empty, each '
        'resource is called like its physnet.',
    ),
    cfg.StrOpt(
        'device_plugin_resource_prefix',
        default='intel.com',
        help='What the device plugin puts before its resource names '
        '(its option -resource-prefix), without the slash.',
    ),
    _pairs(
        'resource_driver_mappings',
        'The binding driver for each resource: '
        'RESOURCE:vfio-pci,RESOURCE:netdevice. Every resource needs one.',
    ),
    cfg.BoolOpt(
        'enable_node_annotations',
        default=False,
        help='Has no effect here: the daemon that embeds this library '
        'decides what it writes to node objects. Kept so that files written '
        'for kuryr-kubernetes load.',
    ),
    cfg.StrOpt(
        'subnet_driver',
        default='nad',
        help='What finds the subnet of a network: an entry point in '
        'kuryr_sriov.subnet_drivers.',
    ),
    cfg.StrOpt(
        'vif_driver',
        default='neutron',
        help='What provides ports and addresses: an entry point in '
        'kuryr_sriov.vif_drivers.',
    ),
    cfg.ListOpt(
        'node_steps',
        default=[],
        help='What a node does besides for each VF that it gives to a pod, '
        'in order: entry points in kuryr_sriov.node_steps. Take one out only '
        'while no pod on the node has VFs.',
    ),
    cfg.StrOpt(
        'node_name',
        default='',
        help="This node's name as the network provider knows it (Neutron: "
        'binding:host_id), for pods that come without the name of their '
        'node.',
    ),
    cfg.StrOpt(
        'state_dir',
        default='/var/lib/kuryr-sriov',
        help='Directory for the ledger of attachments and the locks of '
        'PFs. It has to outlive containers and reboots.',
    ),
    cfg.FloatOpt(
        'device_timeout',
        default=10,
        help='Seconds to wait for a device at most, such as for a network '
        'interface to appear after its driver was bound.',
    ),
    cfg.FloatOpt(
        'pf_lock_timeout',
        default=60,
        help='Seconds to wait at most for another attachment on the same '
        'PF to finish: a NIC is configured by one at a time.',
    ),
    cfg.FloatOpt(
        'kubelet_timeout',
        default=5,
        help='Seconds to wait at most for one answer of the kubelet.',
    ),
)
"""The options of ``[sriov]``."""
