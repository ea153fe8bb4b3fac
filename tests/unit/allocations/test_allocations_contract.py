# SPDX-License-Identifier: Apache-2.0
"""Both sources tell the same of one kubelet."""

from kuryr_sriov.allocations.checkpoint import Checkpoint
from kuryr_sriov.allocations.podresources import PodResources
from kuryr_sriov.testing.contracts.allocations_contract import (
    AllocationsContract,
)


class TestCheckpoint(AllocationsContract):
    source_class = Checkpoint


class TestPodResources(AllocationsContract):
    source_class = PodResources
