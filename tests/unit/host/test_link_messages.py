# SPDX-License-Identifier: Apache-2.0
"""What the kernel's bytes tell of an interface."""

import struct

import pytest

from kuryr_sriov.host import link_messages


def make_message(flags, *attributes):
    fixed = bytes(16) + struct.pack('=BxHiII', 0, 1, 7, flags, 0)
    named = (
        (link_messages.IFNAME, b'net1\0'),
        (link_messages.MTU, struct.pack('=I', 1500)),
    )
    return fixed + b''.join(
        link_messages.encode_attribute(*each) for each in (*named, *attributes)
    )


def decode(message):
    found = link_messages.link_attributes(message)
    return link_messages.decode_link(message, found)


@pytest.mark.parametrize(
    ('flags', 'queue', 'carrier'),
    [
        (0x41, b'noqueue\0', True),
        (0x41, b'mq\0', True),
        (0x41, b'noop\0', False),
        (0x01, b'mq\0', False),
    ],
)
def test_frames_pass_once_there_is_a_queue(flags, queue, carrier):
    message = make_message(flags, (link_messages.QDISC, queue))
    assert decode(message).carrier is carrier


def test_a_kernel_that_tells_no_queue_is_believed():
    assert decode(make_message(0x41)).carrier
