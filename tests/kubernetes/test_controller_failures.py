# SPDX-License-Identifier: Apache-2.0
"""What clusters do to the controller: nothing is lost, nothing made twice."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

import pytest
from daemons import SECONDS, World, report
from faults import Exchange, Hold
from kubelab.cluster import PORTS, Cluster
from kubelab.controllers import ControllerProcess
from servers import wait_for

from kuryr_sriov import Kubernetes

MakeController = Callable[..., ControllerProcess]


def is_write(exchange: Exchange) -> bool:
    return exchange.method != 'GET' and '/leases' not in exchange.path


def test_of_two_replicas_one_does_nothing_but_wait(
    world: World, make_controller: MakeController
) -> None:
    leader, other = make_controller('one'), make_controller('two')
    leader.start_leading()
    other.start()
    wait_for(other.is_ready, SECONDS, 'the second one')
    world.wait_promised(world.make_pod('web'))
    assert leader.leads()
    paths = {call.path.partition('?')[0] for call in other.proxy.calls}
    paths.discard('/api/v1/namespaces/kube-system')  # which cluster it is
    assert all('/leases' in path for path in paths), paths
    assert {call.method for call in other.proxy.calls} == {'GET'}


def test_failover_and_failback(
    world: World,
    make_controller: MakeController,
    node: Kubernetes,
) -> None:
    """What there was stays as it is, and costs no write."""
    first, second = make_controller('one'), make_controller('two')
    first.start_leading()
    second.start()
    before = world.make_pod('before')
    (port,) = world.wait_promised(before)
    report(node, port)
    world.wait_says(before, 'Active', 'True', 'Activated')

    first.kill()
    between = world.make_pod('between')
    world.wait_promised(between)
    assert second.leads()
    assert not any(before.uid in call for call in second.writes())
    written = len(first.writes())

    first.start()
    second.kill()
    after = world.make_pod('after')
    world.wait_promised(after)
    assert first.leads()
    ours = first.writes()[written:]
    assert not any(
        uid in call for call in ours for uid in (before.uid, between.uid)
    )
    assert len(world.vifs()) == 6
    for pod in (before, between, after):
        world.delete_pod(pod.name)
    world.wait_gone(before, between, after)


def test_a_leader_that_is_told_to_end_hands_over_at_once(
    world: World, make_controller: MakeController
) -> None:
    first = make_controller('one', lease_duration=100.0)
    second = make_controller('two', lease_duration=100.0)
    first.start_leading()
    second.start()
    wait_for(
        lambda: second.ask('/readyz')[0] == 200, SECONDS, 'the second one'
    )
    pods = [world.make_pod(f'web-{number}') for number in range(20)]
    assert first.terminate() == 0
    wait_for(second.leads, SECONDS, 'the second one to lead')
    world.wait_promised(*pods)
    assert len(world.vifs()) == 40


def test_a_leader_that_was_away_does_nothing_and_ends(
    world: World, make_controller: MakeController
) -> None:
    """It was stopped in the middle of its work, and does not know it."""
    first, second = make_controller('one'), make_controller('two')
    first.start_leading()
    second.start()
    first.suspend()
    pods = [world.make_pod(f'web-{number}') for number in range(5)]
    world.wait_promised(*pods)
    assert second.leads()
    written = len(first.writes())
    first.resume()
    assert first.wait_ended() == 1
    assert 'the lease is lost' in first.tail()
    assert first.writes()[written:] == []
    assert len(world.vifs()) == 10


def test_a_leader_that_cannot_renew_ends_before_another_leads(
    world: World, make_controller: MakeController
) -> None:
    first, second = make_controller('one'), make_controller('two')
    first.start_leading()
    second.start()

    def refuse(exchange: Exchange) -> None:
        if '/leases' in exchange.path:
            exchange.lose_request = True

    with first.proxy.fault(before=refuse):
        assert first.wait_ended() == 1
        assert not second.leads()
    wait_for(second.works, SECONDS, 'the second one to lead')


def test_watches_that_are_cut_go_on(
    world: World, daemon: ControllerProcess
) -> None:
    world.wait_promised(world.make_pod('web-0'))
    lists = count_lists(daemon)
    for number in range(1, 6):
        assert daemon.proxy.cut_streams() == 3
        pod = world.make_pod(f'web-{number}')
        world.wait_promised(pod)
        wait_for(
            lambda: len(daemon.proxy.streams) == 3,
            SECONDS,
            'all watches to be on',
        )
    assert count_lists(daemon) == lists == 3


def count_lists(daemon: ControllerProcess) -> int:
    """How often it has listed what it watches."""
    watched = 'pods?fieldSelector', 'kuryrsriovports?', '-definitions?'
    return sum(
        'limit=' in call.path and any(word in call.path for word in watched)
        for call in list(daemon.proxy.calls)
    )


def test_an_api_server_that_goes_and_comes_back(
    world: World, daemon: ControllerProcess, cluster: Cluster
) -> None:
    """The leader ends; what is done then is what there is to do by then."""
    kept, gone = world.make_pod('kept'), world.make_pod('gone')
    world.wait_promised(kept, gone)
    cluster.api.stop()
    assert daemon.wait_ended() == 1
    daemon.start()
    cluster.restart()
    world.delete_pod('gone')
    fresh = world.make_pod('fresh')
    world.wait_promised(fresh)
    world.wait_gone(gone)
    assert world.port(kept) is not None
    assert len(world.vifs()) == 4


def test_a_past_that_is_compacted_away(
    world: World, make_controller: MakeController, cluster: Cluster
) -> None:
    """Pods vanish while the watches are down, and their past with them."""
    daemon = make_controller(lease_duration=120.0)
    daemon.start_leading()
    kept, gone = world.make_pod('kept'), world.make_pod('gone')
    world.wait_promised(kept, gone)

    def refuse(exchange: Exchange) -> None:
        if exchange.is_watch:
            exchange.lose_request = True

    with daemon.proxy.fault(before=refuse):
        daemon.proxy.cut_streams()
        world.delete_pod('gone')
        compact(cluster)
        cluster.api.kill()
        cluster.restart()
    world.wait_gone(gone)
    world.wait_promised(kept, world.make_pod('fresh'))
    assert count_lists(daemon) > 3
    assert len(world.vifs()) == 4


def test_an_api_server_that_is_away_for_less_than_the_lease(
    world: World, make_controller: MakeController, cluster: Cluster
) -> None:
    """The leader waits for it, and goes on."""
    daemon = make_controller(lease_duration=120.0)
    daemon.start_leading()
    kept = world.make_pod('kept')
    world.wait_promised(kept)
    cluster.api.kill()
    cluster.restart()
    world.wait_promised(kept, world.make_pod('fresh'))
    assert daemon.leads()
    assert len(world.vifs()) == 4


def compact(cluster: Cluster) -> None:
    """Have etcd forget all but what there is now."""

    def ask(path: str, **body: object) -> dict:
        request = urllib.request.Request(
            cluster.etcd.ready.replace('/health', path),
            data=json.dumps(body).encode(),
            headers={'Content-Type': 'application/json'},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    status = ask('/v3/maintenance/status')
    revision = status['header']['revision']
    ask('/v3/kv/compaction', revision=revision, physical=True)


def test_pods_that_vanish_while_no_controller_runs(
    world: World, make_controller: MakeController, node: Kubernetes
) -> None:
    daemon = make_controller()
    daemon.start_leading()
    kept, gone = world.make_pod('kept'), world.make_pod('gone')
    ended, replaced = world.make_pod('ended'), world.make_pod('replaced')
    ports = world.wait_promised(kept, gone, ended, replaced)
    report(node, ports[0])
    world.wait_says(kept, 'Active', 'True', 'Activated')
    daemon.kill()
    world.delete_pod('gone')
    world.delete_pod('replaced')
    world.end_pod('ended')
    fresh, successor = world.make_pod('fresh'), world.make_pod('replaced')
    daemon.start()
    world.wait_gone(gone, ended, replaced)
    world.wait_promised(fresh, successor)
    assert world.port(kept) is not None
    world.wait_says(kept, 'Active', 'True', 'Activated')
    assert len(world.vifs()) == 6


def test_port_objects_that_the_garbage_collector_took_first(
    world: World, make_controller: MakeController, cluster: Cluster
) -> None:
    """Its deletion, by their owner, while no controller runs."""
    daemon = make_controller()
    daemon.start_leading()
    pod = world.make_pod('web')
    world.wait_promised(pod)
    daemon.kill()
    world.delete_pod('web')
    cluster.call('DELETE', f'{PORTS}/{pod.uid}')
    assert world.port(pod) is not None
    daemon.start()
    world.wait_gone(pod)


@pytest.mark.parametrize('when', ['before', 'after'])
@pytest.mark.parametrize('number', range(1, 6))
def test_killed_at_every_write(
    world: World,
    make_controller: MakeController,
    node: Kubernetes,
    number: int,
    when: str,
) -> None:
    """Before the API server hears of it, and before the answer is heard.

    The five are: promise, verdict, verdict once attached, deletion, finalizer.
    """
    daemon = make_controller()
    daemon.start_leading()
    hold = Hold(number)

    def stop(exchange: Exchange) -> None:
        if is_write(exchange):
            hold(exchange)
            exchange.lose_request = when == 'before' and hold.reached.is_set()

    with daemon.proxy.fault(**{when: stop}):
        pod = world.make_pod('web')
        if number > 2:
            (port,) = world.wait_promised(pod)
            report(node, port)
        if number > 3:
            world.wait_says(pod, 'Active', 'True', 'Activated')
            world.delete_pod('web')
        assert hold.reached.wait(60)
        daemon.kill()
        hold.go.set()
    daemon.start_leading()
    if number > 3:
        world.wait_gone(pod)
        assert world.vifs() == []
        return
    (port,) = world.wait_promised(pod)
    assert len(world.vifs()) == 2
    report(node, port)
    world.wait_says(pod, 'Active', 'True', 'Activated')
    world.delete_pod('web')
    world.wait_gone(pod)
    assert world.vifs() == []


def test_the_same_event_is_told_once(
    world: World, make_controller: MakeController
) -> None:
    """Also by another process, which counts it up."""
    daemon = make_controller()
    daemon.start_leading()
    pod = world.make_pod('web', 'sriov-net1,sriov-net3')
    wait_for(lambda: world.events(pod), SECONDS, 'an event')
    for number in range(5):
        labels = {'metadata': {'labels': {'number': str(number)}}}
        world.patch_pod('web', labels)
    daemon.kill()
    daemon.start_leading()

    def count() -> int:
        (event,) = world.events(pod)
        return int((event.get('series') or {}).get('count', 1))

    wait_for(lambda: count() == 2, SECONDS, 'the event to be counted')


def test_port_objects_that_are_refused_delay_no_others(
    world: World, make_controller: MakeController, node: Kubernetes
) -> None:
    """Somebody else writes those of one node all the time; then he stops."""
    daemon = make_controller()
    daemon.start_leading()
    bad = [
        world.make_pod(f'bad{number}', node='node2') for number in range(40)
    ]
    uids = {pod.uid for pod in bad}
    refused: set[str] = set()

    def refuse(exchange: Exchange) -> None:
        uid = uids & {*exchange.path.partition('?')[0].split('/')}
        if is_write(exchange) and uid:
            refused.update(uid)
            exchange.status = 409
            exchange.answer = json.dumps(
                {'reason': 'Conflict', 'message': 'somebody was faster'}
            ).encode()

    with daemon.proxy.fault(before=refuse):
        wait_for(lambda: refused, SECONDS, 'a refusal')
        well = [world.make_pod(f'well{number}') for number in range(8)]
        for port in world.wait_promised(*well):
            slot = well.index(port.pod)
            report(node, port, slot)
            world.wait_says(port.pod, 'Active', 'True', 'Activated')
        assert all('Active' not in world.says(pod, 'Active') for pod in bad)
    world.wait_promised(*bad)
