# SPDX-License-Identifier: Apache-2.0
"""For the tests of drivers and hosts: contract suites, a simulated node."""

import sys

SUITES = 'binding', 'nodes', 'requesting', 'step', 'subnets', 'vif'

# The suites live in the library; let their assertions explain themselves as
# those of any test module do. Nobody else pays for pytest.
if 'pytest' in sys.modules:
    import pytest

    pytest.register_assert_rewrite(
        *(f'{__name__}.{suite}' for suite in SUITES)
    )
