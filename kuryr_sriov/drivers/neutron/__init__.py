# SPDX-License-Identifier: Apache-2.0
"""The VIF driver ``neutron``: a pod's VFs are ports of Neutron."""

from kuryr_sriov.drivers.neutron.driver import NeutronVIFDriver

__all__ = ('NeutronVIFDriver',)
