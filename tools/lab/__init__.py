# SPDX-License-Identifier: Apache-2.0
"""The lab: a stock Debian kernel with emulated SR-IOV NICs, on any machine.

``python3 -m tools.lab --help`` from the root of the repository. The page
for its users is ``doc/source/lab.rst``.
"""
