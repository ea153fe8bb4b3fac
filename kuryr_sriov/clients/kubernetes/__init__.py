# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API: sessions, watches, and the objects that we need."""
