# SPDX-License-Identifier: Apache-2.0
"""The reference daemons: ``kuryr-sriov-controller``, ``kuryr-sriov-node``.

They embed the library, and use nothing of it but ``from kuryr_sriov import``.
"""
