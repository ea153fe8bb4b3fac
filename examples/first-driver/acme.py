# SPDX-License-Identifier: Apache-2.0
from kuryr_sriov.binding.netdevice import NetdeviceDriver


class AcmeDriver(NetdeviceDriver):
    """Change here what your NIC does differently."""

    contract = 1
