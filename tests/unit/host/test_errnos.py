# SPDX-License-Identifier: Apache-2.0
"""Each error number that a NIC's driver answers is taken for what it means."""

import errno
import types

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.host import netlink_socket
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

ERESTARTSYS = 512
PF, NETNS = '0000:02:00.0', '/run/netns/pod'
VIF = model.Vif('port', 'net1', 'd/n', 'i/p', 'p', 'fa:16:3e:00:00:01')


@pytest.mark.parametrize(
    'number',
    [
        errno.EBUSY,  # iavf, ice
        errno.EAGAIN,  # i40e, iavf, ice
        errno.EINTR,
        ERESTARTSYS,  # iavf
        errno.ENOMEM,
        errno.ENOBUFS,
    ],
)
def test_what_may_pass_is_asked_again(monkeypatch, number):
    answers = [OSError(number, 'later'), [b'answer']]

    def exchange(netns, data, protocol):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(netlink_socket, 'exchange', exchange)
    channel = netlink_socket.Channel()
    assert channel.request('set', 'set of 5', b'', '') == [b'answer']
    assert channel.requests == {'set': 2}


@pytest.fixture
def node(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', 1)])
    node.add_netns(NETNS)
    return node


def connect(node):
    """Attach the node's VF."""
    (pci,) = node.vfs(PF)
    conf = types.SimpleNamespace(device_timeout=5)
    driver = NetdeviceDriver('netdevice', node.host, conf)
    pod = model.Pod('d', 'p', 'uid')
    attachment = model.Attachment(
        sandbox=model.Sandbox('c1', NETNS, pod),
        vif=VIF,
        pci=pci,
        driver='netdevice',
        pf=PF,
        original=driver.snapshot(pci),
    )
    driver.connect(attachment)
    return node.state()[pci].link


@pytest.mark.parametrize(
    'number',
    [
        errno.EADDRNOTAVAIL,  # igbvf, bnxt_en
        errno.EPERM,  # ixgbevf, i40evf, sfc
        errno.EACCES,  # iavf
    ],
)
def test_a_vf_that_may_not_change_its_mac_gets_it_by_its_pf(node, number):
    node.fail('set', number)
    before = node.operations['unbind']
    assert connect(node).mac == VIF.mac
    assert node.operations['unbind'] == before + 1


def test_any_other_error_is_told(node):
    node.fail('set', errno.EIO)
    with pytest.raises(exceptions.KernelError) as caught:
        connect(node)
    assert caught.value.errno == errno.EIO
