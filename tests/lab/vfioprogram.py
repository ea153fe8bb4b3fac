# SPDX-License-Identifier: Apache-2.0
"""A program that drives a PCI function by VFIO, as DPDK begins to.

``vfioprogram.py GROUP ADDRESS`` opens ``/dev/vfio/GROUP``, and reads the
function's identity and its first register, by the ioctls of the kernel's
``include/uapi/linux/vfio.h``. It prints JSON, and holds the function until its
standard input ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import sys

GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU = 0x3B64, 0x3B65, 0x3B66
GROUP_GET_STATUS, GROUP_SET_CONTAINER = 0x3B67, 0x3B68
GROUP_GET_DEVICE_FD, DEVICE_GET_REGION_INFO = 0x3B6A, 0x3B6C
TYPE1V2_IOMMU, NOIOMMU_IOMMU = 3, 8
VIABLE = 1
BARS, CONFIG_SPACE = range(6), 7
REGION = struct.Struct('=IIIIQQ')
"""struct vfio_region_info"""


def open_function(group: str, pci: str) -> tuple[int, int]:
    """The function's file, and the kind of IOMMU that it is behind."""
    container = os.open('/dev/vfio/vfio', os.O_RDWR)
    assert fcntl.ioctl(container, GET_API_VERSION) == 0
    kind = NOIOMMU_IOMMU if group.startswith('noiommu-') else TYPE1V2_IOMMU
    file = os.open(f'/dev/vfio/{group}', os.O_RDWR)
    status = bytearray(struct.pack('=II', 8, 0))
    fcntl.ioctl(file, GROUP_GET_STATUS, status)
    assert struct.unpack('=II', status)[1] & VIABLE
    fcntl.ioctl(file, GROUP_SET_CONTAINER, struct.pack('=i', container))
    assert fcntl.ioctl(container, CHECK_EXTENSION, kind)
    fcntl.ioctl(container, SET_IOMMU, kind)
    name = bytearray(pci.encode() + b'\0')
    return fcntl.ioctl(file, GROUP_GET_DEVICE_FD, name), kind


def locate_region(device: int, index: int) -> tuple[int, int]:
    """Offset and size of one of the function's regions."""
    info = bytearray(REGION.pack(REGION.size, 0, index, 0, 0, 0))
    fcntl.ioctl(device, DEVICE_GET_REGION_INFO, info)
    *_, size, offset = REGION.unpack(info)
    return offset, size


def read_register(device: int) -> bytes:
    """The first of the function's first BAR; a virtio card has no BAR 0."""
    located = (locate_region(device, index) for index in BARS)
    offset = next(offset for offset, size in located if size)
    return os.pread(device, 4, offset)


def main(group: str, pci: str) -> None:
    """Open it, tell of it, and hold it."""
    device, kind = open_function(group, pci)
    offset, _ = locate_region(device, CONFIG_SPACE)
    vendor, model = struct.unpack('<HH', os.pread(device, 4, offset))
    told = {
        'iommu': kind,
        'vendor': f'{vendor:04x}',
        'device': f'{model:04x}',
        'register': read_register(device).hex(),
    }
    print(json.dumps(told), flush=True)
    sys.stdin.read()


if __name__ == '__main__':
    main(*sys.argv[1:])
