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
        # mlx5: MLX5_CMD_STAT_RES_BUSY
        errno.EBUSY,
        # i40e_ndo_set_vf_mac and its like ("still in reset. Try again.", or
        # another operation is pending), ice_check_vf_ready_for_reset,
        # iavf_set_mac without an answer of the PF in 2.5 s; mlx5:
        # MLX5_CMD_STAT_NO_RES_ERR
        errno.EAGAIN,
        # a signal: the socket's own wait; iavf_set_mac's is the next one
        errno.EINTR,
        ERESTARTSYS,
        # any driver, and the socket itself; mlx5: MLX5_CMD_STAT_LIM_ERR
        errno.ENOMEM,
        errno.ENOBUFS,
    }
)
"""The same request may succeed later."""

SETTING_REFUSED = frozenset(
    {
        # most drivers; igb_ndo_set_vf_bw and ixgbe_ndo_set_vf_bw also for a
        # rate while the PF has no link
        errno.EINVAL,
        # no such operation (do_setvfinfo), or none in this mode: mlx5, sfc
        errno.EOPNOTSUPP,
        # mlx5_eswitch_get_vport: the function is no manager of a switch
        errno.EPERM,
        # a VLAN of another protocol than 802.1Q: igb, ixgbe, i40e, ice, bnxt
        errno.EPROTONOSUPPORT,
        # netlink's own check of numbers (nla_validate_int_range)
        errno.ERANGE,
    }
)
"""The NIC does not do what was asked for."""

SETTING_POSTPONED = frozenset(
    {
        # sfc: efx_mcdi_rpc_start, while the controller of the NIC resets
        errno.ENETDOWN,
    }
)
"""A setting of a VF may be had later. Of anything else it says: it is down."""

PERHAPS_NOT_READY = frozenset(
    {
        # ice_check_vf_ready_for_cfg: the VF is disabled while something else
        # resets it, for 800 ms and longer; bnxt_vf_ndo_prep: the PF is down
        errno.EINVAL,
    }
)
"""A refusal that may also mean that the VF cannot be configured just now.

Then the PF does not tell of that VF either: the same check precedes it, and
the kernel leaves such a VF out (rtnl_fill_vfinfo).
"""

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
