# SPDX-License-Identifier: Apache-2.0
"""What a PF holds for its VFs, in the kernel's bytes.

No VF is here to ask; the bytes are those of ``linux/if_link.h``.
"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import netlink_socket, vf_settings
from kuryr_sriov.host.links import Netlink

FULL = model.VfSettings(
    mac='fa:16:3e:00:00:07',
    vlan=3501,
    vlan_qos=3,
    vlan_proto='802.1ad',
    min_tx_rate=100,
    max_tx_rate=1000,
    spoofchk=True,
    trust=False,
    link_state='enable',
    node_guid='00:11:22:33:44:55:66:77',
    port_guid='00:11:22:33:44:55:66:78',
)
guids = st.binary(min_size=8, max_size=8).map(lambda octets: octets.hex(':'))
macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(':'))
rates = st.integers(0, 2**32 - 1)
settings = st.builds(
    model.VfSettings,
    mac=macs,
    vlan=st.integers(0, 4095),
    vlan_qos=st.integers(0, 7),
    vlan_proto=st.sampled_from(['802.1q', '802.1ad']),
    min_tx_rate=rates,
    max_tx_rate=rates,
    spoofchk=st.none() | st.booleans(),
    trust=st.none() | st.booleans(),
    link_state=st.none() | st.sampled_from(['auto', 'enable', 'disable']),
    node_guid=st.none() | guids,
    port_guid=st.none() | guids,
)


def attribute(kind, payload):
    length = 4 + len(payload)
    return struct.pack('=HH', length, kind) + payload + bytes(-length % 4)


def kernels(vf, *attributes, mac=bytes(6)):
    """One IFLA_VF_INFO as the kernel fills it."""
    own = attribute(1, struct.pack('=I32s', vf, mac))
    return attribute(1, own + b''.join(attributes))


@pytest.fixture
def sent(monkeypatch):
    """Netlink with a kernel that answers with what is in ``answers``."""

    class Kernel(list):
        answers = b''

        def exchange(self, netns, message, protocol):
            self.append(message)
            answer = ifinfmsg()
            answer['index'] = 2
            answer['header']['type'] = 16
            answer['attrs'] = [
                ['IFLA_IFNAME', 'ens6'],
                ['IFLA_MTU', 1500],
                ['IFLA_PARENT_DEV_NAME', '0000:02:00.0'],
            ]
            answer.encode()
            body = bytes(answer.data)[4:]
            listed = attribute(22, self.answers)
            return [
                struct.pack('=I', 4 + len(body) + len(listed)) + body + listed
            ]

    kernel = Kernel()
    monkeypatch.setattr(netlink_socket, 'exchange', kernel.exchange)
    return kernel


@given(st.integers(0, 255), settings)
def test_what_is_encoded_is_decoded(vf, wanted):
    encoded = vf_settings.encode(vf, wanted)
    assert vf_settings.HeldSettings(encoded) == (*[None] * vf, wanted)


def test_pyroute2_reads_the_same():
    message = ifinfmsg()
    message['index'] = 2
    message.encode()
    data = bytes(message.data) + attribute(22, vf_settings.encode(7, FULL))
    message = ifinfmsg(struct.pack('=I', len(data)) + data[4:])
    message.decode()
    (info,) = message.get_attr('IFLA_VFINFO_LIST').get_attrs('IFLA_VF_INFO')
    assert info.get_attr('IFLA_VF_MAC')['mac'] == FULL.mac
    (vlan,) = info.get_attr('IFLA_VF_VLAN_LIST').get_attrs('IFLA_VF_VLAN_INFO')
    assert (vlan['vf'], vlan['vlan'], vlan['qos']) == (7, 3501, 3)
    assert vlan['proto'] == 0x88A8
    assert info.get_attr('IFLA_VF_RATE')['max_tx_rate'] == 1000
    assert info.get_attr('IFLA_VF_SPOOFCHK')['spoofchk'] == 1
    assert info.get_attr('IFLA_VF_TRUST')['trust'] == 0
    assert info.get_attr('IFLA_VF_LINK_STATE')['link_state'] == 1


def test_the_vlan_has_the_padding_that_kernels_insist_on():
    """sizeof(struct ifla_vf_vlan_info) is 16, since 1aec77b2bb2e checked."""
    only = model.VfSettings(vlan=5, vlan_qos=0, vlan_proto='802.1q')
    encoded = vf_settings.encode(7, only)
    info = struct.pack('=III', 7, 5, 0) + b'\x81\x00\0\0'
    nested = 0x8000
    assert encoded == attribute(
        1 | nested, attribute(12 | nested, attribute(1, info))
    )


def test_a_guid_has_the_padding_of_an_aligned_number():
    """sizeof(struct ifla_vf_guid) is 16; the number is the host's."""
    encoded = vf_settings.encode(7, model.VfSettings(node_guid=FULL.node_guid))
    info = struct.pack('=IIQ', 7, 0, 0x0011223344556677)
    assert encoded == attribute(0x8001, attribute(10, info))
    encoded = vf_settings.encode(7, model.VfSettings(port_guid=FULL.node_guid))
    assert encoded == attribute(0x8001, attribute(11, info))


def test_what_is_none_is_not_sent():
    assert vf_settings.encode(7, model.VfSettings()) == attribute(0x8001, b'')


@pytest.mark.parametrize(
    'half',
    [{'vlan': 5}, {'vlan_qos': 3}, {'min_tx_rate': 1}, {'max_tx_rate': 1}],
)
def test_half_a_group_is_not_sent(half):
    """The rest would be made up; see ``complete_groups``."""
    alone = vf_settings.encode(7, model.VfSettings(trust=True))
    both = vf_settings.encode(7, model.VfSettings(trust=True, **half))
    assert both == alone


def test_what_the_nic_does_not_report_is_none():
    """rtnl_fill_vfinfo presets these to -1."""
    unreported = [
        attribute(kind, struct.pack('=II', 0, 0xFFFFFFFF)) for kind in (4, 9)
    ]
    found = vf_settings.HeldSettings(kernels(0, *unreported))[0]
    assert found == model.VfSettings(mac='00:00:00:00:00:00')


def test_an_old_kernel_tells_the_vlan_without_its_protocol():
    vlan = attribute(2, struct.pack('=III', 0, 5, 3))
    found = vf_settings.HeldSettings(kernels(0, vlan))[0]
    assert (found.vlan, found.vlan_qos, found.vlan_proto) == (5, 3, None)


def test_each_vf_is_found_by_its_own_number():
    listed = b''.join(
        kernels(vf, mac=bytes((2, 0, 0, 0, 0, vf))) for vf in (2, 0, 1)
    )
    found = [held.mac[-2:] for held in vf_settings.HeldSettings(listed)]
    assert found == ['00', '01', '02']


def test_a_vf_of_which_the_driver_does_not_tell_is_none():
    """rtnl_fill_vfinfo leaves it out where ndo_get_vf_config fails."""
    known = vf_settings.HeldSettings(kernels(2))
    assert (len(known), known[:2]) == (3, (None, None))


def test_netlink_names_a_vf_that_is_not_there(sent):
    sent.answers = vf_settings.encode(0, FULL)
    with pytest.raises(exceptions.KernelError, match='sriov_numvfs'):
        Netlink().set_vf(2, 1, model.VfSettings(vlan=5))


def test_netlink_reads_all_vfs_of_a_pf_in_one_request(sent):
    sent.answers = vf_settings.encode(0, model.VfSettings(mac=FULL.mac)) + (
        vf_settings.encode(1, FULL)
    )
    links = Netlink()
    pf = links.pf(2)
    assert (pf.link.index, pf.link.pci) == (2, '0000:02:00.0')
    assert (len(pf.vfs), pf.vfs[1]) == (2, FULL)
    assert links.requests == {'pf': 1}
    (request,) = sent
    assert attribute(29, struct.pack('=I', 0x9)) in request


def test_netlink_sets_one_vf_in_one_request(sent):
    links = Netlink()
    links.set_vf(2, 1, FULL)
    assert links.requests == {'set_vf': 1}
    (request,) = sent
    assert request.endswith(attribute(22, vf_settings.encode(1, FULL)))


@pytest.mark.parametrize(
    ('part', 'complete'),
    [
        (
            model.VfSettings(vlan=5),
            model.VfSettings(vlan=5, vlan_qos=3, vlan_proto='802.1ad'),
        ),
        (
            model.VfSettings(vlan_qos=0),
            model.VfSettings(vlan=3501, vlan_qos=0, vlan_proto='802.1ad'),
        ),
        (
            model.VfSettings(max_tx_rate=0),
            model.VfSettings(min_tx_rate=100, max_tx_rate=0),
        ),
    ],
)
def test_what_goes_together_is_completed_with_what_is_there(
    sent, part, complete
):
    sent.answers = vf_settings.encode(1, FULL)
    links = Netlink()
    links.set_vf(2, 1, part)
    assert links.requests == {'pf': 1, 'set_vf': 1}
    assert sent[-1].endswith(attribute(22, vf_settings.encode(1, complete)))
