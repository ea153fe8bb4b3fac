# SPDX-License-Identifier: Apache-2.0
"""A real Neutron and a real Keystone on loopback, for tests and benchmarks.

`lab.Lab` starts both and `faults.FaultProxy` stands in front of Neutron.
"""
