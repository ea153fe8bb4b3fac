# SPDX-License-Identifier: Apache-2.0
"""What the kernel's error numbers mean here, with the source of each."""

from __future__ import annotations

import errno

ERESTARTSYS = 512
"""A signal came while a driver waited; netlink passes it on as it is."""

TRANSIENT = frozenset(
    {
        # iavf_open while it resets, ice_check_vf_ready_for_cfg ("in reset.
        # Try again."), rename of an interface that is up (before Linux 6.2),
        # driver core
        errno.EBUSY,
        # i40e_ndo_set_vf_mac and its like ("still in reset. Try again.", or
        # another operation is pending), ice_check_vf_ready_for_reset,
        # iavf_set_mac without an answer of the PF in 2.5 s
        errno.EAGAIN,
        # a signal: the socket's own wait; iavf_set_mac's is the next one
        errno.EINTR,
        ERESTARTSYS,
        # any driver, and the socket itself
        errno.ENOMEM,
        errno.ENOBUFS,
    }
)
"""The same request may succeed later."""

MAC_REFUSED = frozenset(
    {
        # igbvf_set_mac, bnxt_approve_mac: the PF has set another one
        errno.EADDRNOTAVAIL,
        # ixgbevf_set_mac, i40evf_set_mac, efx_ef10_set_mac_address
        errno.EPERM,
        # iavf_set_mac: the PF's answer was no
        errno.EACCES,
    }
)
"""A VF may not change its MAC: its PF has pinned another one."""
