# SPDX-License-Identifier: Apache-2.0
"""What an 82576 refuses is named as what was asked for."""

import dataclasses
import errno
import types

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

PF = '0000:02:00.0'
VIF = {
    'id': 'port',
    'ifname': 'net1',
    'network': 'default/net',
    'resource': 'intel.com/p22',
    'physnet': 'p22',
    'mac': 'fa:16:3e:00:00:01',
    'vlan': 100,
    'vlan_qos': 3,
}


@pytest.mark.parametrize(
    'refused',
    [
        {'vlan_proto': '802.1ad'},
        {'min_tx_rate': 10, 'max_tx_rate': 100},
        {'link_state': 'enable'},
    ],
    ids=lambda refused: next(iter(refused)),
)
def test_a_refused_setting_is_named(tmp_path, refused):
    """Also where the kernel refuses a group, and applied others before."""
    driver, attachment = prepare(tmp_path, refused, plugged=True)
    (setting, *_) = refused
    with pytest.raises(exceptions.UnsupportedSetting) as caught:
        driver.connect(attachment)
    assert caught.value.setting == setting
    driver.disconnect(attachment)
    assert driver.snapshot(attachment.pci) == attachment.original


def prepare(path, asked, plugged=False):
    """A driver, and the attachment of a VIF that asks for these settings."""
    node = SimulatedNode(path, [Pf(PF, 'ens6', vfs=1)])
    conf = types.SimpleNamespace(device_timeout=1)
    driver = VfioDriver('vfio-pci', node.host, conf)
    (pci,) = node.vfs(PF)
    attachment = model.Attachment(
        sandbox=model.Sandbox('c1', '/x', model.Pod('default', 'p', 'uid')),
        vif=model.Vif(**VIF, **asked),
        pci=pci,
        driver='vfio-pci',
        original=driver.snapshot(pci),
    )
    if not plugged:
        node.unplug(PF)
    return driver, attachment


def test_what_the_nic_cannot_do_is_no_matter_of_its_link(tmp_path):
    """Only a rate may be had once the PF has its link again."""
    driver, attachment = prepare(tmp_path, {'vlan_proto': '802.1ad'})
    with pytest.raises(exceptions.UnsupportedSetting):
        driver.connect(attachment)
    driver, attachment = prepare(tmp_path / 'rate', {'max_tx_rate': 100})
    with pytest.raises(exceptions.DeviceBusy, match='has no link'):
        driver.connect(attachment)


@pytest.mark.parametrize(
    ('asked', 'times'),
    [
        ({'link_state': 'enable'}, 1),
        # EINVAL may also mean that the VF is being reset: it is asked again.
        ({'max_tx_rate': 100}, 2),
    ],
    ids=str,
)
def test_a_refusal_is_final_at_once(tmp_path, asked, times):
    """Others wait for the PF's lock: only what was accepted is waited for."""
    driver, attachment = prepare(tmp_path, asked)
    requests = driver.host.links.requests
    before = requests.copy()
    with pytest.raises(exceptions.KuryrSriovError):
        driver.connect(attachment)
    assert requests['set_vf'] - before['set_vf'] == times
    assert requests['pf'] - before['pf'] == times


@pytest.fixture
def not_ready(tmp_path, monkeypatch):
    """A driver, an attachment, and a NIC whose first answer is an error.

    Called with what the PF tells meanwhile of what it holds for its VFs.
    """

    def not_ready(meanwhile=lambda vfs: vfs, number=errno.EINVAL):
        driver, attachment = prepare(tmp_path, {}, plugged=True)
        links = driver.host.links
        pf, set_vf = links.pf, links.set_vf

        def refuse(*arguments):
            def tell(index):
                told = pf(index)
                return dataclasses.replace(told, vfs=meanwhile(told.vfs))

            monkeypatch.setattr(links, 'pf', tell)
            monkeypatch.setattr(links, 'set_vf', set_vf)
            raise exceptions.KernelError('is disabled', number)

        monkeypatch.setattr(links, 'set_vf', refuse)
        return driver, attachment

    return not_ready


def test_a_vf_that_was_not_ready_is_asked_again(not_ready):
    """As of ice, while something else resets it."""
    driver, attachment = not_ready()
    driver.connect(attachment)
    driver.check(attachment)


def test_a_vf_that_its_pf_still_tells_nothing_of_is_worth_a_retry(not_ready):
    driver, attachment = not_ready(lambda vfs: (None,))
    with pytest.raises(exceptions.DeviceBusy, match='tells nothing of its VF'):
        driver.connect(attachment)


def test_a_nic_whose_controller_resets_is_worth_a_retry(not_ready):
    """sfc."""
    driver, attachment = not_ready(number=errno.ENETDOWN)
    with pytest.raises(exceptions.DeviceBusy, match='is disabled'):
        driver.connect(attachment)
    driver.connect(attachment)
