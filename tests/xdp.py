# SPDX-License-Identifier: Apache-2.0
"""An XDP program that lets every frame pass, put on an interface.

As a program: ``python xdp.py IFNAME``, in the network namespace it is in.
"""

import ctypes
import mmap
import os
import platform
import socket
import struct
import sys

BPF_SYSCALL = {'x86_64': 321, 'aarch64': 280}
PROG_LOAD, XDP = 5, 6
# r0 = XDP_PASS; exit
PROGRAM = struct.pack('=BBhiBBhi', 0xB7, 0, 0, 2, 0x95, 0, 0, 0)
SETLINK, REQUEST_ACK = 19, 0x5
NESTED_XDP, FD, FLAGS, GENERIC = 0x8000 | 43, 1, 3, 2


def load():
    """The program's file descriptor."""
    memory = mmap.mmap(-1, len(PROGRAM) + 4)
    memory.write(PROGRAM + b'GPL\0')
    buffer = ctypes.c_char.from_buffer(memory)
    address = ctypes.addressof(buffer)
    count = len(PROGRAM) // 8
    attr = struct.pack('=IIQQ', XDP, count, address, address + len(PROGRAM))
    attr = ctypes.create_string_buffer(attr.ljust(120, b'\0'))
    libc = ctypes.CDLL(None, use_errno=True)
    file = libc.syscall(
        BPF_SYSCALL[platform.machine()], PROG_LOAD, attr, len(attr)
    )
    if file < 0:
        number = ctypes.get_errno()
        raise OSError(number, f'bpf: {os.strerror(number)}')
    return file


def attach(ifname):
    """Put it on the interface, where it stays when this process ends."""
    file = load()
    nested = struct.pack('=HHiHHI', 8, FD, file, 8, FLAGS, GENERIC)
    attribute = struct.pack('=HH', 4 + len(nested), NESTED_XDP) + nested
    index = socket.if_nametoindex(ifname)
    body = struct.pack('=BxHiII', 0, 0, index, 0, 0) + attribute
    header = struct.pack('=IHHII', 16 + len(body), SETLINK, REQUEST_ACK, 1, 0)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
    ) as rtnetlink:
        rtnetlink.send(header + body)
        (number,) = struct.unpack_from('=i', rtnetlink.recv(4096), 16)
    os.close(file)
    if number:
        raise OSError(-number, f'{ifname}: {os.strerror(-number)}')


if __name__ == '__main__':
    attach(sys.argv[1])
