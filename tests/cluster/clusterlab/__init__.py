# SPDX-License-Identifier: Apache-2.0
"""A cluster of one node, whose VFs, kubelet and runtime are real."""
