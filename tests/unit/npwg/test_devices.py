# SPDX-License-Identifier: Apache-2.0
"""A pod has to request a VF for each of its networks."""

import copy

import pytest

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation, NotAllocated
from kuryr_sriov.npwg.requests import check_requested, requested_devices

A = 'intel.com/physnet22'
B = 'intel.com/physnet23'


def container(requests=None, limits=None, **more):
    return {'resources': {'requests': requests, 'limits': limits}, **more}


def pod(*containers, init=()):
    return {
        'metadata': {'namespace': 'default', 'name': 'nginx', 'uid': 'u-1'},
        'spec': {'containers': containers, 'initContainers': init},
    }


def needs(*resources):
    return [
        model.NetworkRequest('default', 'n', f'net{n}', resource=resource)
        for n, resource in enumerate(resources, 1)
    ]


def test_the_how_to():
    requests = {A: '1', B: '1', 'cpu': '2', 'hugepages-2Mi': '512Mi'}
    assert requested_devices(pod(container(requests, requests))) == {
        A: 1,
        B: 1,
    }


def test_containers_add_up():
    body = pod(container({A: '1'}), container({A: 2, B: '1'}), {})
    assert requested_devices(body) == {A: 3, B: 1}


def test_requests_default_to_limits_one_by_one():
    body = pod(container({A: '1'}, {A: '1', B: '2'}))
    assert requested_devices(body) == {A: 1, B: 2}


def test_what_init_containers_request_does_not_count():
    init = (container({A: '2'}), container({A: '3', B: '1'}))
    body = pod(container({A: '1', B: '2'}), init=init)
    assert requested_devices(body) == {A: 1, B: 2}


def test_a_sidecar_counts_as_a_container():
    init = (
        container({A: '1'}, restartPolicy='Always'),
        container({A: '1'}),
    )
    assert requested_devices(pod(container({A: '1'}), init=init)) == {A: 2}


@pytest.mark.parametrize('spec', [{}, {'spec': {'initContainers': None}}])
def test_no_containers_no_devices(spec):
    assert requested_devices(spec) == {}


@pytest.mark.parametrize(
    ('quantity', 'count'),
    [(0, 0), (7, 7), ('7', 7), ('1k', 1000), ('2Ki', 2048), ('1e1', 10)],
)
def test_quantities_of_kubernetes(quantity, count):
    devices = requested_devices(pod(container({A: quantity})))
    assert devices.get(A, 0) == count


@pytest.mark.parametrize('quantity', ['', 'one', '-1', '100m', 1.5, None])
def test_what_is_no_number_of_devices_is_refused(quantity):
    with pytest.raises(InvalidAnnotation) as caught:
        requested_devices(pod(container({A: quantity})))
    assert str(caught.value) == (
        f'the request for {A} is {quantity!r}, which is no whole number; '
        f'request a number of devices.'
    )


def test_enough_is_enough():
    check_requested(needs(A, A, B), pod(container({A: '2', B: '2'})))


def test_nothing_is_needed_for_no_networks():
    check_requested([], pod())


def test_too_few_names_both_numbers():
    body = pod(container({A: '1'}))
    with pytest.raises(NotAllocated) as caught:
        check_requested(needs(A, A, B), body)
    assert str(caught.value) == (
        f'the networks of pod default/nginx need 2 {A} (its containers '
        f'request 1), 1 {B} (its containers request 0); raise '
        f'resources.requests and resources.limits of a container, or remove '
        f'networks from its annotation k8s.v1.cni.cncf.io/networks.'
    )


def test_init_containers_whose_request_does_not_count_are_named():
    init = (
        container({A: '1'}, name='fetch'),
        container({B: '1'}, name='other'),
        container({A: '0'}, name='none'),
        container({A: '1'}, name='helper', restartPolicy='Always'),
        container(limits={A: 2}, name='prepare'),
    )
    with pytest.raises(NotAllocated) as caught:
        check_requested(needs(A, A), pod(init=init))
    assert str(caught.value) == (
        f'the networks of pod default/nginx need 2 {A} (its containers '
        f'request 1, and what its init container fetch, prepare requests '
        f'does not count, since the kubelet does not tell the node which '
        f'devices those are); raise resources.requests and resources.limits '
        f'of a container, or remove networks from its annotation '
        f'k8s.v1.cni.cncf.io/networks.'
    )


def test_the_pod_is_only_read():
    body = pod(container({A: '2'}, {B: '1'}), init=(container({A: '1'}),))
    before = copy.deepcopy(body)
    check_requested(needs(A, A), body)
    check_requested(needs(A, A), body)
    assert body == before
