# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov-controller``: from pods to port objects, and back."""
