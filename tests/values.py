# SPDX-License-Identifier: Apache-2.0
"""Values that more than one folder of tests needs."""

import types

from kuryr_sriov import model

VIF = model.Vif(
    id='3f1c1d2e-0000-4000-8000-000000000001',
    ifname='net1',
    network='default/sriov-net1',
    resource='intel.com/physnet22',
    physnet='physnet22',
    mac='fa:16:3e:00:00:01',
    addresses=('192.168.2.7/24', 'fd00:2::7/64'),
    gateways=('192.168.2.1',),
    routes=(model.Route('10.9.0.0/16', '192.168.2.254'),),
    dns=('192.168.2.2',),
    vlan=3501,
    mtu=1450,
    vlan_qos=3,
    vlan_proto='802.1ad',
    min_tx_rate=100,
    max_tx_rate=1000,
    spoofchk=True,
    trust=False,
    link_state='enable',
    active=True,
)
"""None of its fields has its default, but for those added later."""


def kubelet_conf(root, timeout=5.0):
    """The options of those who ask a kubelet what it allocated."""
    return types.SimpleNamespace(
        kubelet_root_dir=root, kubelet_timeout=timeout
    )
