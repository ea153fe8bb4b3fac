# SPDX-License-Identifier: Apache-2.0
"""physnet, resource and driver lead to each other as the operator said."""

import pytest

from kuryr_sriov.config.mappings import Resources
from kuryr_sriov.exceptions import ConfigurationError

MAPPED = Resources(
    prefix='intel.com',
    names={'physnet22': 'fast', 'physnet23': 'slow'},
    drivers={'fast': 'vfio-pci'},
)
PLAIN = Resources('intel.com', {}, {'physnet22': 'vfio-pci'})


def test_mapped_names():
    assert MAPPED.resource_of('physnet22') == 'intel.com/fast'
    assert MAPPED.physnet_of('intel.com/slow') == 'physnet23'
    assert MAPPED.driver_of('intel.com/fast') == 'vfio-pci'


def test_without_mapping_the_resource_is_called_like_the_physnet():
    assert PLAIN.resource_of('physnet22') == 'intel.com/physnet22'
    assert PLAIN.physnet_of('intel.com/physnet22') == 'physnet22'
    assert PLAIN.driver_of('intel.com/physnet22') == 'vfio-pci'


@pytest.mark.parametrize(
    ('method', 'name', 'message'),
    [
        (
            'resource_of',
            'physnet24',
            "[sriov] physnet_resource_mappings: physnet 'physnet24' has no "
            "resource; add 'physnet24:RESOURCE'.",
        ),
        (
            'physnet_of',
            'intel.com/other',
            "[sriov] physnet_resource_mappings: resource 'intel.com/other' "
            "belongs to no physnet; add 'PHYSNET:other'.",
        ),
        (
            'driver_of',
            'intel.com/slow',
            "[sriov] resource_driver_mappings: resource 'intel.com/slow' "
            "has no driver; add 'slow:DRIVER'.",
        ),
        (
            'driver_of',
            'mellanox.com/fast',
            '[sriov] device_plugin_resource_prefix: resource '
            "'mellanox.com/fast' does not start with 'intel.com/'; set the "
            'prefix that the device plugin uses, or correct the resource '
            'name.',
        ),
    ],
)
def test_what_leads_nowhere_is_refused(method, name, message):
    with pytest.raises(ConfigurationError) as caught:
        getattr(MAPPED, method)(name)
    assert str(caught.value) == message
