# SPDX-License-Identifier: Apache-2.0
"""The contract suite of allocations.

Subclass ``AllocationsContract`` in a pytest module, and pytest runs the
suite on a simulated kubelet::

    class TestMyAllocations(AllocationsContract):
        source_class = MyAllocations
"""

from __future__ import annotations

import contextlib
import tempfile
import types
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.allocations.base import Allocations
from kuryr_sriov.testing.simulation.kubelet import Kubelet

VFS = 'intel.com/physnet22'
OTHERS = 'intel.com/qat'
POD = model.Pod('default', 'web', 'uid-1')
NEIGHBOUR = model.Pod('other', 'web', 'uid-2')


class AllocationsContract:
    """What every source has to tell, and why.

    :cvar source_class: the class under test.
    """

    source_class: ClassVar[type[Allocations]]

    @pytest.fixture
    def kubelet(self) -> Iterator[Kubelet]:
        """The kubelet, with devices of two resources and nothing given."""
        # Not tmp_path: the path of a unix socket has 107 bytes at most.
        with tempfile.TemporaryDirectory() as root, Kubelet(root) as kubelet:
            kubelet.plug(VFS, ['0000:02:10.4', '0000:02:10.0', '0000:02:10.2'])
            kubelet.plug(OTHERS, ['qat-1'])
            yield kubelet

    @pytest.fixture
    def conf(self, kubelet: Kubelet) -> Any:
        """The source's section of kuryr.conf."""
        return types.SimpleNamespace(
            kubelet_root_dir=str(kubelet.root), kubelet_timeout=30.0
        )

    @pytest.fixture
    def source(self, conf: Any) -> Allocations:
        """The source under test."""
        return self.source_class(conf)

    def allocate(
        self, kubelet: Kubelet, pod: model.Pod, **resources: int
    ) -> tuple[model.Device, ...]:
        """Have the kubelet give a pod devices: ``vfs`` and ``others``."""
        wanted = {
            resource: resources[word]
            for word, resource in (('vfs', VFS), ('others', OTHERS))
            if word in resources
        }
        return kubelet.allocate(pod.namespace, pod.name, pod.uid, wanted)

    def test_the_library_would_load_it(self) -> None:
        """Else the first who sees the refusal is an operator."""
        breach = plugins.find_breach(self.source_class, plugins.ALLOCATIONS)
        assert not breach, f'{self.source_class.__qualname__} {breach}'

    def test_a_pod_has_what_the_kubelet_gave_it(
        self, source: Allocations, kubelet: Kubelet
    ) -> None:
        """Anything else is another pod's VF, or none."""
        given = self.allocate(kubelet, POD, vfs=2)
        assert set(source.list_devices(POD)) == set(given)

    def test_they_are_sorted(
        self, source: Allocations, kubelet: Kubelet
    ) -> None:
        """A repeated ADD gives each interface the VF that it had."""
        given = self.allocate(kubelet, POD, vfs=3)
        assert source.list_devices(POD) == tuple(
            sorted(given, key=lambda device: (device.resource, device.pci))
        )

    def test_another_pods_devices_are_left_out(
        self, source: Allocations, kubelet: Kubelet
    ) -> None:
        """Also where only the namespace tells the two apart."""
        given = self.allocate(kubelet, POD, vfs=1)
        self.allocate(kubelet, NEIGHBOUR, vfs=2)
        assert source.list_devices(POD) == given

    def test_devices_that_are_no_pci_functions_are_among_them(
        self, source: Allocations, kubelet: Kubelet
    ) -> None:
        """What is no VF the library says, with the device's name."""
        self.allocate(kubelet, POD, others=1)
        assert source.list_devices(POD) == (model.Device(OTHERS, 'qat-1'),)

    def test_a_pod_without_devices_has_none(
        self, source: Allocations, kubelet: Kubelet
    ) -> None:
        """No VF, or an error that is worth a retry; never somebody else's."""
        self.allocate(kubelet, NEIGHBOUR, vfs=2)
        with contextlib.suppress(exceptions.KubeletUnavailable):
            assert source.list_devices(POD) == ()

    def test_what_is_freed_is_gone(
        self, source: Allocations, kubelet: Kubelet
    ) -> None:
        """An answer that is kept gives a VF away that another pod has."""
        self.allocate(kubelet, POD, vfs=1)
        assert source.list_devices(POD)
        kubelet.free(POD.uid)
        with contextlib.suppress(exceptions.KubeletUnavailable):
            assert source.list_devices(POD) == ()

    def test_what_is_offered_is_told_whoever_has_it(
        self, source: Allocations, kubelet: Kubelet
    ) -> None:
        """Or nothing is told: what is free is the rest."""
        self.allocate(kubelet, POD, vfs=2)
        offered = source.list_offered()
        if offered:
            assert {name: len(ids) for name, ids in offered.items()} == {
                VFS: 3,
                OTHERS: 1,
            }

    def test_a_kubelet_that_is_not_there_is_worth_a_retry(
        self, source: Allocations, kubelet: Kubelet, conf: Any
    ) -> None:
        """It is restarted for each of its upgrades."""
        conf.kubelet_root_dir += '/nowhere'
        with pytest.raises(exceptions.KubeletUnavailable):
            self.source_class(conf).list_devices(POD)
