# SPDX-License-Identifier: Apache-2.0
"""A real API server of Kubernetes on loopback; see `cluster.Cluster`."""
