# SPDX-License-Identifier: Apache-2.0
"""VIFs without OpenStack: subnets in a YAML file, allocations in SQLite."""

from kuryr_sriov.drivers.local.ipam import LocalVIFDriver

__all__ = ['LocalVIFDriver']
