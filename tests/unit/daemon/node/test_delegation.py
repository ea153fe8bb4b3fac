# SPDX-License-Identifier: Apache-2.0
"""Where the device information for Multus may be written, and where not."""

import json
import types

import pytest

from kuryr_sriov.model import DeviceInfo
from kuryr_sriov_daemon.node import delegation
from kuryr_sriov_daemon.node.cni_request import CONFIG, CniError, CniRequest

ATTACHED = [types.SimpleNamespace(device_info=DeviceInfo('0000:02:10.0'))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / 'devinfo'
    monkeypatch.setattr(delegation, 'FOLDERS', (folder,))
    return folder


def asking_for(path):
    """What Multus sends, or whoever wrote the NAD."""
    return CniRequest(
        'ADD', config={'runtimeConfig': {'CNIDeviceInfoFile': str(path)}}
    )


def test_it_is_written_and_removed(folder):
    request = asking_for(folder / 'pod-net1')
    delegation.write_device_info(request, ATTACHED)
    (file,) = folder.iterdir()
    assert json.loads(file.read_text())['pci'] == {
        'pci-address': '0000:02:10.0'
    }
    delegation.remove_device_info(request)
    assert list(folder.iterdir()) == []
    delegation.remove_device_info(request)


@pytest.mark.parametrize('request_', [CniRequest('ADD'), asking_for('')])
def test_who_does_not_ask_gets_none(folder, request_):
    delegation.write_device_info(request_, ATTACHED)
    assert not folder.exists()


@pytest.mark.parametrize(
    'name', ['../elsewhere', '.hidden', 'below/it', '/etc/passwd']
)
def test_a_file_elsewhere_is_neither_written_nor_removed(
    folder, tmp_path, name
):
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.write_text('of somebody else')
    request = asking_for(folder / name)
    with pytest.raises(CniError, match='is not in') as caught:
        delegation.write_device_info(request, ATTACHED)
    assert caught.value.code == CONFIG
    delegation.remove_device_info(request)
    assert elsewhere.read_text() == 'of somebody else'
    assert not folder.exists()


def test_a_folder_that_is_not_there_is_an_error_that_says_so(folder):
    folder.write_text('a file')
    with pytest.raises(CniError, match=r'mount .* into the node daemon'):
        delegation.write_device_info(asking_for(folder / 'net1'), ATTACHED)
