# SPDX-License-Identifier: Apache-2.0
"""The VF of a running pod follows its VIF: set and read back on a real PF.

igb knows rates, spoof check and trust; link state and a minimum rate it
refuses.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from labcrash import Doomed, Pod
from labnode import Lab, Netns, VirtualFunction
from labpods import KERNEL, USERSPACE, attach, make_vif

from kuryr_sriov import exceptions, model
from kuryr_sriov.node import Node

MakeNetns = Callable[[], Netns]
NEWS = {'max_tx_rate': 200, 'spoofchk': False, 'trust': True}
SHOWN_NEWS = {'rate': 200, 'spoofchk': False, 'trust': True}
DRIVERS_OF_VIFS = pytest.mark.parametrize('driver', [KERNEL, USERSPACE])


@pytest.fixture
def vf(
    lab: Lab, make_vfs: Callable[..., list[VirtualFunction]]
) -> VirtualFunction:
    return make_vfs(lab.pfs[0], 1)[0]


def shown(vf: VirtualFunction) -> dict[str, Any]:
    """What ``ip`` says the PF holds of the settings that may change."""
    info = vf.info()
    assert info['rate']['min_tx'] == 0
    return {
        'rate': info['rate']['max_tx'],
        'spoofchk': info['spoofchk'],
        'trust': info['trust'],
    }


def record_of(node: Node) -> model.Attachment:
    (record,) = node.attachments()
    return record


@DRIVERS_OF_VIFS
def test_the_pf_holds_the_new_settings_while_the_pod_runs(
    vf: VirtualFunction, node: Node, make_netns: MakeNetns, driver: str
) -> None:
    before, pod = vf.state(), make_netns()
    attach(node, vf, make_vif(1, driver, max_tx_rate=100), pod)
    record = record_of(node)
    at_first = vf.info()
    link = pod.link('net1') if driver == KERNEL else None

    assert node.change_settings(
        record, dataclasses.replace(record.vif, **NEWS)
    )

    assert shown(vf) == SHOWN_NEWS
    now = vf.info()
    for other in 'address', 'vlan_list', 'link_state':
        assert now.get(other) == at_first.get(other)
    if driver == KERNEL:
        assert pod.link('net1') == link
    node.check(pod.name)
    node.detach(pod.name)
    assert vf.state() == before
    assert node.ledger.all() == ()


def test_what_the_provider_no_longer_says_is_as_before_the_attach(
    vf: VirtualFunction, node: Node, make_netns: MakeNetns
) -> None:
    pod, before = make_netns(), shown(vf)
    attach(node, vf, make_vif(1, max_tx_rate=100, trust=True), pod)
    record = record_of(node)
    newer = dataclasses.replace(record.vif, max_tx_rate=None, trust=None)
    assert node.change_settings(record, newer)
    assert shown(vf) == before
    node.check(pod.name)
    node.detach(pod.name)


@DRIVERS_OF_VIFS
@pytest.mark.parametrize(
    'refused',
    [{'link_state': 'disable'}, {'min_tx_rate': 10}],
    ids=lambda each: next(iter(each)),
)
def test_what_the_nic_refuses_is_named_and_nothing_of_it_stays(
    vf: VirtualFunction,
    node: Node,
    make_netns: MakeNetns,
    driver: str,
    refused: dict[str, Any],
) -> None:
    """The kernel has set rate and spoof check before it asks for the link."""
    (setting,) = refused
    before, pod = vf.state(), make_netns()
    attach(node, vf, make_vif(1, driver, max_tx_rate=100), pod)
    record, held = record_of(node), vf.info()
    newer = dataclasses.replace(record.vif, **NEWS, **refused)

    with pytest.raises(exceptions.UnsupportedSetting, match=setting) as caught:
        node.change_settings(record, newer)

    assert caught.value.setting == setting
    assert vf.info() == held
    pending = record_of(node)
    assert (pending.vif, pending.pending) == (record.vif, newer)
    node.check(pod.name)
    # the provider takes back what the NIC refused, and keeps the rest
    assert node.change_settings(
        pending, dataclasses.replace(record.vif, **NEWS)
    )
    assert shown(vf) == SHOWN_NEWS
    node.detach(pod.name)
    assert vf.state() == before
    assert node.ledger.all() == ()


@pytest.mark.parametrize('ends', ['finished', 'taken back', 'deleted'])
def test_killed_in_a_change(
    doomed: Doomed, vf: VirtualFunction, make_netns: MakeNetns, ends: str
) -> None:
    """All of it is set, or none; a restart goes on either way, or DEL does."""
    pod = Pod(make_netns(), [vf], (KERNEL,))
    node = doomed.node
    for left in itertools.count():
        pod.attach(node)
        record, at_first = record_of(node), shown(vf)
        newer = dataclasses.replace(record.vif, **NEWS)

        def change(
            node: Node,
            record: model.Attachment = record,
            newer: model.Vif = newer,
        ) -> None:
            node.change_settings(record, newer)

        died = doomed.dies(left, change)
        assert shown(vf) in (at_first, SHOWN_NEWS), doomed.passed
        assert not node.reconcile().restored
        node.check(pod.netns.name)
        if ends == 'finished':
            node.change_settings(record, newer)
            assert shown(vf) == SHOWN_NEWS
        elif ends == 'taken back':
            node.change_settings(record, record.vif)
            assert shown(vf) == at_first
        node.check(pod.netns.name)
        pod.detach(node)
        assert pod.is_gone(node), doomed.passed
        if not died:
            break
    assert doomed.seen >= {
        *('intend-change', 'change-settings', 'set_vf', 'confirm-change'),
    }
