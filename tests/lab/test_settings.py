# SPDX-License-Identifier: Apache-2.0
"""What a VIF asks of the NIC: set, read back from outside, given back."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import labnode
import pytest
from labnode import Lab, Netns, VirtualFunction
from labpods import KERNEL, USERSPACE, VLAN, attach, make_vif

from kuryr_sriov import exceptions, model
from kuryr_sriov.host.links import Netlink
from kuryr_sriov.node import Node

MakeNetns = Callable[[], Netns]
GUID = '00:11:22:33:44:55:66:77'
PINNED, OTHER = '02:00:00:00:00:99', '02:00:00:00:00:98'


@pytest.fixture
def vf(
    lab: Lab, make_vfs: Callable[..., list[VirtualFunction]]
) -> VirtualFunction:
    return make_vfs(lab.pfs[0], 1)[0]


@pytest.mark.parametrize('driver', [KERNEL, 'igbvf', USERSPACE])
def test_settings_are_held_by_the_pf_and_given_back(
    vf: VirtualFunction, node: Node, make_netns: MakeNetns, driver: str
) -> None:
    before, pod = vf.state(), make_netns()
    vif = make_vif(
        1,
        driver,
        vlan_qos=3,
        trust=True,
        spoofchk=False,
        min_tx_rate=0,
        max_tx_rate=100,
        link_state=None,
        mtu=9000,
    )

    attach(node, vf, vif, pod)

    held = vf.info()
    assert held['address'] == vif.mac
    assert held['vlan_list'] == [{'vlan': VLAN, 'qos': 3}]
    assert held['rate'] == {'max_tx': 100, 'min_tx': 0}
    assert (held['trust'], held['spoofchk']) == (True, False)
    if driver == USERSPACE:
        assert vf.driver == USERSPACE
    else:
        link = pod.link('net1')
        assert (link['address'], link['mtu']) == (vif.mac, 9000)
        assert (link['ifalias'], vf.netdev) == (before['ifname'], None)

    node.detach(pod.name)
    assert vf.state() == before


REFUSED = (
    {'link_state': 'enable'},
    {'min_tx_rate': 10, 'max_tx_rate': 100},
    {'vlan_proto': '802.1ad'},
)


@pytest.mark.parametrize(
    ('driver', 'refused'),
    [
        *(
            (driver, each)
            for driver in (KERNEL, USERSPACE)
            for each in REFUSED
        ),
        (KERNEL, {'mtu': 9500}),  # the other has no interface to give it to
    ],
    ids=lambda each: each if isinstance(each, str) else next(iter(each)),
)
def test_a_refusal_names_the_setting_and_leaves_nothing(
    vf: VirtualFunction,
    node: Node,
    make_netns: MakeNetns,
    driver: str,
    refused: dict[str, Any],
) -> None:
    """EOPNOTSUPP, EINVAL and EPROTONOSUPPORT of a real NIC driver."""
    (setting, *_) = refused
    before, pod = vf.state(), make_netns()
    vif = make_vif(1, driver, vlan_qos=3, trust=True, **refused)

    with pytest.raises(exceptions.UnsupportedSetting, match=setting) as caught:
        attach(node, vf, vif, pod)

    assert caught.value.setting == setting
    assert vf.state() == before
    assert node.ledger.all() == ()


@pytest.mark.parametrize('driver', [KERNEL, USERSPACE])
def test_a_guid_is_refused_where_the_vf_is_no_infiniband(
    vf: VirtualFunction, node: Node, make_netns: MakeNetns, driver: str
) -> None:
    """By the library; and by the kernel, which understands the request."""
    before, pod = vf.state(), make_netns()
    with pytest.raises(
        exceptions.UnsupportedSetting, match=r'node_guid .* the NIC has none'
    ):
        attach(node, vf, make_vif(1, driver, guid=GUID), pod)
    assert vf.state() == before
    assert node.ledger.all() == ()

    pf = int((vf.pf.path / 'net' / vf.pf.ifname / 'ifindex').read_text())
    for name in 'node_guid', 'port_guid':
        with pytest.raises(exceptions.KernelError) as caught:
            Netlink().set_vf(pf, vf.index, model.VfSettings(**{name: GUID}))
        assert caught.value.errno == errno.EOPNOTSUPP
    assert vf.state() == before


def lose_link(vf: VirtualFunction, rate: int) -> None:
    """Set the PF down; its driver sees that there is no link a little later.

    :param rate: what the VF has.
    """

    def refused() -> bool:
        try:
            vf.configure('rate', str(rate))
        except RuntimeError:
            return True
        return False

    labnode.run('ip', 'link', 'set', vf.pf.ifname, 'down')
    labnode.wait_for(f'{vf.pf} to refuse a rate', refused)


def without_rate(state: dict[str, Any]) -> dict[str, Any]:
    """iproute2 tells a rate twice, for kernels before 3.16 once more."""
    rates = 'rate', 'tx_rate'
    held = {k: v for k, v in state['pf'].items() if k not in rates}
    return {**state, 'pf': held}


@pytest.mark.parametrize('driver', [KERNEL, USERSPACE])
def test_a_rate_waits_for_the_link_of_the_pf(
    vf: VirtualFunction, node: Node, make_netns: MakeNetns, driver: str
) -> None:
    """igb refuses any without, and it is not the NIC that cannot do it."""
    before, pod = vf.state(), make_netns()
    vif = make_vif(1, driver, max_tx_rate=100)

    lose_link(vf, rate=0)
    with pytest.raises(exceptions.DeviceBusy, match='has no link'):
        attach(node, vf, vif, pod)
    assert vf.state() == before
    assert node.ledger.all() == ()

    vf.pf.set_up()
    attach(node, vf, vif, pod)
    lose_link(vf, rate=100)
    node.detach(pod.name)
    # The emulated NIC's link comes and goes by itself once its PF is down; a
    # rate that met one is restored at once. igb itself forgets all rates when
    # the speed of its link changes (igb_check_vf_rate_limit).
    after = vf.state()
    assert without_rate(after) == without_rate(before)
    owed = [record.owed for record in node.ledger.all()]
    assert all('has no link' in reason for reason in owed)
    assert owed or after == before

    vf.pf.set_up()
    node.detach(pod.name)
    assert vf.state() == before
    assert node.ledger.all() == ()


@pytest.mark.parametrize('driver', [KERNEL, USERSPACE])
@pytest.mark.parametrize('taken', [False, True])
def test_a_mac_that_the_operator_has_pinned_is_replaced_and_comes_back(
    vf: VirtualFunction,
    node: Node,
    make_netns: MakeNetns,
    driver: str,
    taken: bool,
) -> None:
    """igbvf takes another MAC only when it is bound anew."""
    vf.configure('mac', PINNED)
    if taken:
        vf.bind(labnode.VF_DRIVER)
    before, pod = vf.state(), make_netns()
    vif = make_vif(1, driver)

    attach(node, vf, vif, pod)
    assert vf.info()['address'] == vif.mac
    if driver == KERNEL:
        assert pod.link('net1')['address'] == vif.mac
    node.detach(pod.name)

    assert vf.state() == before
    # The VF cannot change it: the PF has set it, and not heard of it.
    labnode.run('ip', 'link', 'set', vf.ifname, 'down')
    with pytest.raises(RuntimeError):
        labnode.run('ip', 'link', 'set', vf.ifname, 'address', OTHER)


def test_each_pod_on_a_vf_has_the_mac_of_its_own_port(
    vf: VirtualFunction, node: Node, make_netns: MakeNetns
) -> None:
    """As its PF sees it, and as it sees itself; whatever was before."""
    before = vf.state()
    for number, driver in enumerate((KERNEL, KERNEL, USERSPACE, KERNEL), 1):
        vif, pod = make_vif(number, driver), make_netns()
        attach(node, vf, vif, pod)
        assert vf.info()['address'] == vif.mac
        if driver == KERNEL:
            assert pod.link('net1')['address'] == vif.mac
        node.detach(pod.name)
        assert vf.state() == before


def test_a_vif_attached_again_is_wired_anew(
    vf: VirtualFunction, node: Node, make_netns: MakeNetns
) -> None:
    before, pod = vf.state(), make_netns()
    attach(node, vf, make_vif(1), pod)
    attach(node, vf, make_vif(2), pod)
    node.check(pod.name)
    assert pod.link('net1')['address'] == make_vif(2).mac
    node.detach(pod.name)
    assert vf.state() == before


def test_what_is_reported_is_where_the_vf_is(
    vf: VirtualFunction, node: Node, make_netns: MakeNetns
) -> None:
    vif = make_vif(1, USERSPACE)
    attached = attach(node, vf, vif, make_netns())
    assert attached.location == model.Location(
        'lab', vf.pci, '8086:10ca', vif.physnet
    )
    group = vf.iommu_group
    nodes = '/dev/vfio/vfio', f'/dev/vfio/{group}'
    assert attached.device_info.device_nodes == nodes
