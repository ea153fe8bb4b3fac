# SPDX-License-Identifier: Apache-2.0
"""What the kernel may answer to a request."""

import errno
import socket
import struct
import threading

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from kuryr_sriov import exceptions
from kuryr_sriov.host import links, netlink_socket

DONE, ERROR, LINK = 3, 2, 16
MULTI, INTERRUPTED, CAPPED, TLVS = 0x2, 0x10, 0x100, 0x200


def message(kind, flags, body):
    data = struct.pack('=IHHII', 16 + len(body), kind, flags, 0, 0) + body
    return data + bytes(-len(data) % 4)


def refusal(number, text, flags, request):
    own = text.encode() + b'\0'
    cookie = struct.pack('=HH4s', 8, 3, b'1234')
    words = struct.pack('=HH', 4 + len(own), 1) + own
    body = struct.pack('=i', -number) + request + cookie + words
    return message(ERROR, flags | TLVS, body)


@pytest.fixture
def kernel():
    """What is sent there is answered by ``_answers``."""
    there, here = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there, here:
        here.setblocking(False)

        def answers(*datagrams):
            for datagram in datagrams:
                there.send(datagram)
            return list(netlink_socket._read_answers(here))

        yield answers


def test_a_dump_in_several_parts(kernel):
    parts = [message(LINK, MULTI, bytes([n] * 5)) for n in range(3)]
    done = message(DONE, MULTI, struct.pack('=i', 0))
    found = kernel(parts[0] + parts[1], parts[2], done)
    assert [part[16] for part in found] == [0, 1, 2]


def test_a_single_answer_needs_no_end(kernel):
    assert len(kernel(message(LINK, 0, b'1234'))) == 1


def test_an_acknowledgement_is_no_answer(kernel):
    assert kernel(message(ERROR, 0, struct.pack('=i', 0) + bytes(16))) == []


def test_an_error_without_words(kernel):
    with pytest.raises(OSError, match='Operation not permitted') as caught:
        kernel(message(ERROR, 0, struct.pack('=i', -1) + bytes(16)))
    assert caught.value.errno == errno.EPERM


def test_an_error_at_the_end_of_a_dump(kernel):
    with pytest.raises(OSError, match='Invalid argument'):
        kernel(message(DONE, MULTI, struct.pack('=i', -errno.EINVAL)))


@pytest.mark.parametrize(
    ('flags', 'request_body'),
    [
        (0, message(19, 5, b'the whole request')),
        (CAPPED, message(19, 5, b'only its header')[:16]),
    ],
)
def test_the_kernels_words(kernel, flags, request_body):
    with pytest.raises(OSError, match='mtu too big') as caught:
        kernel(refusal(errno.EINVAL, 'mtu too big', flags, request_body))
    assert caught.value.errno == errno.EINVAL


def test_attributes_without_words(kernel):
    header = struct.pack('=IHHII', 16, 19, 5, 0, 0)
    body = struct.pack('=i', -22) + header + struct.pack('=HHI', 8, 2, 36)
    with pytest.raises(OSError, match='Invalid argument'):
        kernel(message(ERROR, CAPPED | TLVS, body))


def test_a_list_that_changed_while_it_was_made_is_asked_for_again(kernel):
    """Else an interface could be missed that is there."""
    with pytest.raises(OSError, match='changed') as caught:
        kernel(message(LINK, MULTI | INTERRUPTED, b'1234'))
    assert isinstance(
        netlink_socket.map_error(caught.value, 'find'), exceptions.DeviceBusy
    )


def test_a_kernel_that_says_nothing_is_no_wait(kernel):
    with pytest.raises(BlockingIOError):
        kernel()


def busy(times):
    """An exchange that succeeds after some times."""
    left = [times]

    def exchange(netns, data, protocol):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EBUSY, 'Device or resource busy')
        return [b'answer']

    return exchange


def test_a_busy_kernel_is_asked_again(monkeypatch):
    """sriov-cni#213: device or resource busy."""
    monkeypatch.setattr(netlink_socket, 'exchange', busy(3))
    channel = netlink_socket.Channel()
    assert channel.request('set', 'set of 5', b'', '') == [b'answer']
    assert channel.requests == {'set': 4}


def test_a_kernel_that_stays_busy_is_an_error_with_the_reason(monkeypatch):
    monkeypatch.setattr(netlink_socket, 'exchange', busy(10_000))
    channel = netlink_socket.Channel(busy_timeout=0.01)
    with pytest.raises(exceptions.DeviceBusy, match=r'of 5.*resource busy'):
        channel.request('set', 'set of 5', b'', '')


def test_an_error_without_a_number():
    error = netlink_socket.map_error(OSError('odd'), 'set of 5')
    assert error.errno == errno.EIO


def linked(parent, name='net1'):
    """An RTM_NEWLINK as the kernel sends it."""
    answer = ifinfmsg()
    answer['index'] = 5
    answer['flags'] = 1
    answer['header']['type'] = LINK
    answer['attrs'] = [
        ['IFLA_IFNAME', name],
        ['IFLA_MTU', 1450],
        ['IFLA_PARENT_DEV_NAME', parent],
    ]
    answer.encode()
    return bytes(answer.data)


@pytest.mark.parametrize('parent', ['0000:02:10.0', 'virtio2'])
def test_an_interface_is_found_by_its_parent(monkeypatch, tmp_path, parent):
    device = tmp_path / 'sys/devices/pci0000:00/0000:02:10.0/virtio2'
    device.mkdir(parents=True)
    folder = tmp_path / 'sys/bus/virtio/devices'
    folder.mkdir(parents=True)
    (folder / 'virtio2').symlink_to(device)
    listed = [
        linked('0000:02:10.1'),
        linked('x', '0000:02:10.0'),
        linked(parent),
    ]
    monkeypatch.setattr(netlink_socket, 'exchange', lambda *_: listed)
    found = links.Netlink(tmp_path).find('0000:02:10.0', '')
    assert (found.index, found.name, found.pci) == (5, 'net1', '0000:02:10.0')


def test_an_interface_that_is_elsewhere_is_not_found(monkeypatch):
    monkeypatch.setattr(
        netlink_socket, 'exchange', lambda *_: [linked('x', '0000:02:10.0')]
    )
    assert links.Netlink().find('0000:02:10.0', '') is None


def test_a_packet_that_cannot_be_sent(monkeypatch):
    """The interface has gone down, or away, since it was looked at."""
    gone = ifinfmsg()
    gone['flags'] = 0x41
    gone['header']['type'] = LINK
    gone['attrs'] = [
        ['IFLA_IFNAME', 'net1'],
        ['IFLA_MTU', 1450],
        ['IFLA_ADDRESS', '02:00:00:00:00:07'],
    ]
    gone.encode()
    monkeypatch.setattr(
        netlink_socket, 'exchange', lambda *_: [bytes(gone.data)]
    )
    with pytest.raises(exceptions.KernelError, match=r'announce 192\.0\.2\.7'):
        links.Netlink().announce(99, ['192.0.2.7/24'], '')


def test_a_kernel_that_hangs_keeps_one_thread_however_often_it_is_asked(
    monkeypatch,
):
    """A driver that does not return holds the lock of all interfaces."""
    served, sent = threading.Event(), []

    def hang(*request):
        sent.append(request)
        served.wait()
        return []

    monkeypatch.setattr(netlink_socket, 'exchange', hang)
    monkeypatch.setattr(netlink_socket, 'REQUEST_TIMEOUT', 0.05)
    channel = netlink_socket.Channel(busy_timeout=0.05)
    before = threading.active_count()
    try:
        for _ in range(5):
            with pytest.raises(exceptions.DeviceBusy, match='a driver may'):
                channel.request('set', 'set of interface 7', b'', '')
        assert threading.active_count() <= before + 1
        assert len(sent) == 1
    finally:
        served.set()
