# SPDX-License-Identifier: Apache-2.0
"""For the tests of drivers and hosts.

``contracts`` has a suite for each kind of driver, ``simulation`` a node whose
kernel reacts, and a kubelet that speaks gRPC.
"""

import sys

# The suites live in the library; let their assertions explain themselves as
# those of any test module do. Nobody else pays for pytest.
if 'pytest' in sys.modules:
    import pytest

    # Each stands for all modules below it.
    pytest.register_assert_rewrite(
        f'{__name__}.contracts', f'{__name__}.fixtures'
    )
