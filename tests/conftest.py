# SPDX-License-Identifier: Apache-2.0
"""For all tests."""

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers

# The contract suites live in the library; let their assertions explain too.
pytest.register_assert_rewrite(
    'kuryr_sriov.testing.contracts.binding_contract',
    'kuryr_sriov.testing.contracts.promise_contract',
    'kuryr_sriov.testing.contracts.subnets_contract',
    'kuryr_sriov.testing.contracts.vif_contract',
)

# The same examples on every machine, however slow and busy it is, and a
# failure as it was found: to shrink one takes minutes. To look for new ones,
# and to have them shrunk: pytest --hypothesis-profile=explore
# Hypothesis also tries constants of the modules that are imported by then,
# so that the examples would differ with the tests that ran before.
providers._get_local_constants = lambda: providers._local_constants
hypothesis.settings.register_profile(
    'same',
    deadline=None,
    derandomize=True,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.shrink},
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    'explore',
    parent=hypothesis.settings.get_profile('same'),
    derandomize=False,
    phases=set(hypothesis.Phase),
)
hypothesis.settings.load_profile('same')
