# SPDX-License-Identifier: Apache-2.0
"""The options of ``[sriov]`` in kuryr.conf."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg, types

GROUP = 'sriov'


class Pairs(types.Dict):
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


def pairs_option(name: str, text: str, pairs: Pairs | None = None) -> cfg.Opt:
    """An option of ``NAME:VALUE`` pairs."""
    # a DictOpt, so that the documentation calls it one
    option = cfg.DictOpt(name, default={}, help=text)
    option.type = pairs or Pairs()
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
    pairs_option(
        'default_physnet_subnets',
        'The subnet for each physnet, for networks whose '
        'NetworkAttachmentDefinition names none: '
        'physnet22:SUBNET_ID,physnet23:SUBNET_ID. The ids are UUIDs where '
        'vif_driver is neutron.',
    ),
    pairs_option(
        'network_physnets',
        'The physnet of each network, where the network provider does not '
        'tell it: Neutron tells only who may read provider attributes, which '
        'the roles "member" and "service" may not. '
        'NETWORK_ID:physnet22,NETWORK_ID:physnet22. A subnet of '
        'default_physnet_subnets needs no entry here.',
    ),
    pairs_option(
        'physnet_resource_mappings',
        "The device plugin's resource for each physnet, without its "
        'prefix: physnet22:RESOURCE,physnet23:RESOURCE. If empty, each '
        'resource has the name of its physnet.',
    ),
    cfg.StrOpt(
        'device_plugin_resource_prefix',
        default='intel.com',
        help='What the device plugin puts before its resource names '
        '(its option -resource-prefix), without the slash.',
    ),
    pairs_option(
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
    pairs_option(
        'node_vif_drivers',
        'Another vif_driver for some nodes, by patterns of their names, of '
        'which the first that fits counts: vm-*:guest,vm2-*:guest. "guest" '
        'is for nodes that are virtual machines, whose VFs are ports '
        'already. Subnets are described by vif_driver for all nodes.',
    ),
    cfg.BoolOpt(
        'namespace_isolation',
        default=True,
        help='Whether pods are held to NetworkAttachmentDefinitions of their '
        'own namespace, and of global_namespaces. As namespaceIsolation of '
        'Multus, but on: ports are made with more rights than whoever makes '
        'a pod has.',
    ),
    cfg.ListOpt(
        'global_namespaces',
        default=['default'],
        help='Namespaces whose NetworkAttachmentDefinitions are for all '
        'pods. As globalNamespaces of Multus.',
    ),
    cfg.FloatOpt(
        'orphan_grace',
        default=600,
        min=0,
        help='Age in seconds below which a VIF whose pod is gone is left '
        'alone when orphans are collected.',
    ),
    cfg.FloatOpt(
        'orphan_limit',
        default=25,
        min=0,
        max=100,
        help='Per cent of the pods with VIFs that may be gone when orphans '
        'are collected; if there are more (and more than ten), nothing is '
        'given back, since it is more likely that the wrong API server was '
        'asked.',
    ),
    cfg.ListOpt(
        'attachment_hooks',
        default=[],
        help='What a node does besides for each VF that it gives to a pod, '
        'in order: entry points in kuryr_sriov.attachment_hooks. Take one '
        'out only while no pod on the node has VFs.',
    ),
    cfg.StrOpt(
        'node_name',
        default='',
        help="This node's name in Kubernetes, for pods that come without the "
        'name of their node.',
    ),
    cfg.BoolOpt(
        'node_is_guest',
        default=False,
        help='This node is a virtual machine that has VFs of its hypervisor, '
        'though its processor does not say that it is virtual. Elsewhere a '
        'network function without PF is no VF, and is refused: nobody could '
        'put it on a VLAN.',
    ),
    cfg.BoolOpt(
        'allow_unsafe_noiommu',
        help='Whether vfio-pci may take a VF that is behind no IOMMU, where '
        'vfio has its enable_unsafe_noiommu_mode on. A program that drives '
        'such a VF can reach all memory of this node. If unset, a virtual '
        'machine may, since its hypervisor keeps the VF to the memory of that '
        'machine; bare metal may not.',
    ),
    cfg.StrOpt(
        'instance_metadata',
        default='',
        help='Where a node that is a virtual machine reads which ports its '
        'VFs are, where vif_driver is guest: the folder that its config '
        'drive is mounted on, the block device of it, or the URL of the '
        'metadata service. If empty, /dev/disk/by-label/config-2, and where '
        'that is not there, http://169.254.169.254.',
    ),
    cfg.StrOpt(
        'guest_addresses',
        default='metadata',
        choices=('metadata', 'provider'),
        help='Who tells a node that is a virtual machine which addresses '
        'the ports of its VFs have: its metadata, or the network provider, '
        'which the controller asks. The metadata tells none of subnets with '
        'DHCP, and a config drive those of when the machine was started.',
    ),
    cfg.FloatOpt(
        'metadata_timeout',
        default=10,
        help='Seconds that reading instance_metadata may take at most.',
    ),
    cfg.ListOpt(
        'guest_macs',
        default=[],
        help='MAC addresses of VFs of a virtual machine that no kernel '
        'driver of network cards ever has, such as those bound to vfio-pci '
        'at boot: 0000:00:06.0=fa:16:3e:00:00:01. Nothing else tells which '
        'port such a VF is.',
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
        'attachment_timeout',
        default=60,
        help='Seconds that giving a pod its VFs may take at most, and taking '
        'them from it: all waits for the kubelet, locks and devices '
        'together. An attempt that fails may take as long again to be '
        'undone. The kubelet gives up after its runtimeRequestTimeout, two '
        'minutes by default.',
    ),
    cfg.FloatOpt(
        'kubelet_timeout',
        default=15,
        help='Seconds to wait at most for one answer of the kubelet. The '
        'first answer after its start takes seconds on a busy node.',
    ),
)
"""The options of ``[sriov]``."""
