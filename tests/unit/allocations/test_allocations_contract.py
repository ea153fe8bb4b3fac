# SPDX-License-Identifier: Apache-2.0
"""Both sources tell the same of one kubelet."""

import pytest
from values import kubelet_conf

from kuryr_sriov.allocations.checkpoint import Checkpoint
from kuryr_sriov.allocations.podresources import PodResources
from kuryr_sriov.testing.contracts.allocations_contract import (
    AllocationsContract,
)


@pytest.mark.parametrize('kind', [Checkpoint, PodResources])
def test_a_source_keeps_the_options_that_it_is_given(kind, tmp_path):
    conf = kubelet_conf(str(tmp_path))
    assert kind(conf).conf is conf


class TestCheckpoint(AllocationsContract):
    source_class = Checkpoint


class TestPodResources(AllocationsContract):
    source_class = PodResources
