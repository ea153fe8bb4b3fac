# SPDX-License-Identifier: Apache-2.0
"""For all tests."""

import pytest

# The contract suites live in the library; let their assertions explain too.
pytest.register_assert_rewrite('kuryr_sriov.testing.binding')
