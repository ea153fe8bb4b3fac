# SPDX-License-Identifier: Apache-2.0
"""Nova's code writes the metadata of which the other tests are told."""

import json

import metadata
import nova_metadata


def test_the_sample_is_what_nova_writes_today():
    told = json.loads((metadata.NOVA / 'neutron.json').read_text())
    written = nova_metadata.describe_instance(told)
    assert written == json.loads(metadata.WRITTEN)
