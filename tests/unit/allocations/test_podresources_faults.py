# SPDX-License-Identifier: Apache-2.0
"""What comes of a kubelet that is slow, busy, large, or not there."""

import concurrent.futures
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from values import kubelet_conf

from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations.podresources import LIST, PodResources
from kuryr_sriov.testing.simulation.kubelet import Kubelet

NET22 = 'intel.com/physnet22'
POD = model.Pod('default', 'web', 'uid-1')
DEVICES = (model.Device(NET22, '0000:02:10.0'),)


@pytest.fixture
def root():
    # Not tmp_path: the path of a unix socket is short.
    with tempfile.TemporaryDirectory() as root:
        yield root


@pytest.fixture
def kubelet(root):
    with Kubelet(root) as kubelet:
        kubelet.plug(NET22, ['0000:02:10.0'])
        kubelet.allocate('default', 'web', 'uid-1', {NET22: 1})
        yield kubelet


def test_a_rate_limit_is_waited_for(kubelet):
    kubelet.reject = 3
    began = time.monotonic()
    assert (
        PodResources(kubelet_conf(kubelet.root)).list_devices(POD) == DEVICES
    )
    assert len(kubelet.calls) == 4
    # of pauses of 20, 40 and 80 ms, half at least
    assert time.monotonic() - began >= 0.07


def test_many_threads_share_the_rate_limit(kubelet):
    kubelet.reject = 30
    client = PodResources(kubelet_conf(kubelet.root))
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(client.list_devices, [POD] * 48))
    assert answers == [DEVICES] * 48


def test_a_rate_limit_is_not_waited_for_forever(kubelet):
    kubelet.reject = 1000
    with pytest.raises(
        exceptions.KubeletUnavailable,
        match=r'in 1 s, .* rate limit; find the client',
    ):
        PodResources(kubelet_conf(kubelet.root, 1)).list_devices(POD)
    assert len(kubelet.calls) < 12  # each pause is twice the last


def test_a_slow_kubelet_is_not_waited_for_forever(kubelet):
    kubelet.delay = 60
    start = time.monotonic()
    with pytest.raises(
        exceptions.KubeletUnavailable,
        match=r'in 0\.2 s, .* DEADLINE_EXCEEDED, .* kubelet_timeout',
    ):
        PodResources(kubelet_conf(kubelet.root, 0.2)).list_devices(POD)
    assert time.monotonic() - start < 10


def test_a_reply_larger_than_grpc_allows_by_itself(kubelet):
    kubelet.get = 'no'
    kubelet.padding = 5 * 2**20
    assert (
        PodResources(kubelet_conf(kubelet.root)).list_devices(POD) == DEVICES
    )


def test_a_reply_that_is_too_large_is_not_asked_for_again(kubelet):
    kubelet.get = 'no'
    kubelet.padding = 16 * 2**20
    with pytest.raises(
        exceptions.KubeletUnavailable, match='gate KubeletPodResourcesGet'
    ):
        PodResources(kubelet_conf(kubelet.root)).list_devices(POD)
    assert kubelet.calls.count(LIST) == 1


def test_an_error_of_the_kubelet_itself(kubelet):
    kubelet.get = 'no'
    kubelet.padding = None
    with pytest.raises(exceptions.KubeletUnavailable, match='see its log'):
        PodResources(kubelet_conf(kubelet.root)).list_devices(POD)


def test_the_socket_is_missing(root):
    with pytest.raises(
        exceptions.KubeletUnavailable,
        match=rf'{root}/pod-resources/kubelet\.sock has no socket .* No such '
        r'file.* kubelet_root_dir .* --root-dir, .*pod-resources mounted',
    ):
        PodResources(kubelet_conf(root)).list_devices(POD)


def test_nobody_listens_at_the_socket(root):
    client = PodResources(kubelet_conf(root))
    os.mkdir(os.path.dirname(client.path))
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(client.path)
        with pytest.raises(
            exceptions.KubeletUnavailable,
            match=r'UNAVAILABLE.*see that it runs',
        ):
            client.list_devices(POD)


def test_the_kubelet_comes_back(kubelet):
    client = PodResources(kubelet_conf(kubelet.root))
    kubelet.stop()
    with pytest.raises(exceptions.KubeletUnavailable):
        client.list_devices(POD)
    kubelet.start()
    assert client.list_devices(POD) == DEVICES


def test_a_call_to_the_old_kubelet_does_not_keep_others_there(root):
    client = PodResources(kubelet_conf(root))
    new = Kubelet(root)
    with (
        concurrent.futures.ThreadPoolExecutor() as threads,
        Kubelet(root) as old,
    ):
        old.delay = 3600
        waiting = threads.submit(client.list_devices, POD)
        while not old.calls:
            assert not waiting.done()
            time.sleep(0.001)
        os.unlink(old.socket)
        new.allocate('default', 'web', 'uid-1', {})
        with new:
            assert client.list_devices(POD) == ()
        assert len(new.calls) == len(old.calls) == 1


def test_the_path_may_hold_any_character(root):
    with Kubelet(pathlib.Path(root, 'a %20#?ö')) as kubelet:
        kubelet.allocate('default', 'web', 'uid-1', {})
        assert os.path.exists(kubelet.socket)
        assert PodResources(kubelet_conf(kubelet.root)).list_devices(POD) == ()


def test_the_authority_is_one_that_go_accepts(root):
    client = PodResources(kubelet_conf(root, 2))
    os.mkdir(os.path.dirname(client.path))
    received = b''
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(client.path)
        listener.listen()
        listener.settimeout(5)
        asking = threading.Thread(
            target=pytest.raises,
            args=(exceptions.KubeletUnavailable, client.list_devices, POD),
        )
        asking.start()
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            connection.sendall(bytes(3) + b'\x04' + bytes(5))
            while b'PodResourcesLister' not in received:
                received += connection.recv(4096)
    asking.join()
    assert b'localhost' in received
    assert b'sock' not in received


def test_calls_leave_no_descriptor_and_no_thread(kubelet):
    client = PodResources(kubelet_conf(kubelet.root))
    absent = model.Pod('default', 'absent', 'uid-2')
    errors = []

    def ask():
        client.list_devices(POD)
        with pytest.raises(exceptions.KubeletUnavailable) as caught:
            client.list_devices(absent)
        # Its traceback keeps alive whatever is not closed.
        errors.append(caught.value)

    for _ in range(5):
        ask()
    threads = threading.active_count()
    descriptors = len(os.listdir('/proc/self/fd'))
    for _ in range(40):
        ask()
    deadline = time.monotonic() + 10
    # The kubelet is in this process, and closes its ends a little later.
    while len(os.listdir('/proc/self/fd')) > descriptors + 8:
        assert time.monotonic() < deadline, 'descriptors are left'
        time.sleep(0.01)
    assert threading.active_count() <= threads + 8


FORK = """
import os, sys
from types import SimpleNamespace
from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations.podresources import PodResources

client = PodResources(
    SimpleNamespace(kubelet_root_dir=sys.argv[1], kubelet_timeout=5)
)
pod = model.Pod('default', 'web', 'uid-1')

def exit_of_fork(what):
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        what()
    except exceptions.PermanentError as error:
        os._exit(2 if 'fork first' in str(error) else 3)
    os._exit(0)

asks = lambda: client.list_devices(pod)
assert exit_of_fork(asks) == 0, 'fork, then ask'
asks()
assert exit_of_fork(asks) == 2, 'ask, then fork, then ask'
"""


def test_a_process_forks_first_and_then_asks(kubelet):
    subprocess.run(
        [sys.executable, '-c', FORK, kubelet.root], check=True, timeout=30
    )
