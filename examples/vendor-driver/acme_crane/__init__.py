# SPDX-License-Identifier: Apache-2.0
"""What Acme adds to kuryr-sriov for its imaginary NIC, the Crane.

Each module is a plugin, and the options of all three are in ``[acme]``.
"""

GROUP = 'acme'
