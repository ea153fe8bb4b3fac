# SPDX-License-Identifier: Apache-2.0
"""Network namespaces of the running kernel."""

import contextlib
import errno
import os
import resource
import socket

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.host import netns


def own():
    return os.stat('/proc/thread-self/ns/net').st_ino


def test_the_nodes_own_is_alive():
    assert netns.alive('')
    assert netns.alive('/proc/self/ns/net')


@pytest.mark.parametrize(
    'path', ['/nonexistent/netns', '/proc/self/status/netns', '/proc/self']
)
def test_no_namespace_is_there(path):
    assert not netns.alive(path)


def test_a_plain_file_is_what_a_deleted_namespace_leaves(tmp_path):
    path = tmp_path / 'netns'
    path.touch()
    assert not netns.alive(str(path))
    with (
        pytest.raises(exceptions.KernelError, match='it is no namespace') as e,
        netns.opened(str(path)),
    ):
        pass
    assert e.value.errno == errno.ENOENT


def test_another_kind_of_namespace_is_none():
    assert not netns.alive('/proc/self/ns/mnt')


def test_what_cannot_be_told_is_not_taken_for_gone(tmp_path):
    path = tmp_path / 'loop'
    path.symlink_to(path)
    with pytest.raises(exceptions.KernelError, match='Cannot open') as caught:
        netns.alive(str(path))
    assert caught.value.errno == errno.ELOOP


def test_nor_when_files_run_out(netnses):
    """Else a VF would be taken away from a running pod."""
    path = netnses()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(exceptions.KernelError) as caught:
            netns.alive(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE


def test_a_socket_there_while_this_thread_stays_here(netnses):
    path, here = netnses(), own()
    with netns.open_socket(path, socket.AF_INET, socket.SOCK_DGRAM) as opened:
        assert own() == here
        with pytest.raises(OSError, match=os.strerror(errno.ENETUNREACH)):
            opened.connect(('192.0.2.1', 9))


def test_one_in_a_namespace_that_is_gone(netnses):
    path = netnses()
    netnses.delete(path)
    assert not netns.alive(path)
    with pytest.raises(exceptions.KernelError) as caught:
        netns.open_socket(path, socket.AF_INET, socket.SOCK_DGRAM)
    assert caught.value.errno == errno.ENOENT
    assert path in str(caught.value)


def test_one_that_the_kernel_refuses(netnses):
    with pytest.raises(exceptions.KernelError, match='Cannot open a socket'):
        netns.open_socket(netnses(), socket.AF_INET, 99)


def test_a_namespace_that_may_not_be_entered(monkeypatch):
    @contextlib.contextmanager
    def opened(path):
        with open('/dev/null') as file:
            yield file.fileno()

    monkeypatch.setattr(netns, 'opened', opened)
    with pytest.raises(exceptions.KernelError, match='Cannot enter') as caught:
        netns.enter('/run/netns/x')
    assert caught.value.errno == errno.EINVAL


def test_what_is_no_namespace_is_refused_with_the_kernels_reason():
    with (
        open('/dev/null') as file,
        pytest.raises(
            exceptions.KernelError, match='Cannot enter a pod: I'
        ) as raised,
    ):
        netns._move_thread(file.fileno(), 'a pod')
    assert raised.value.errno == errno.EINVAL


def test_namespaces_are_told_apart_whatever_their_paths(netnses):
    one, other = netnses(), netnses()
    assert netns.identify(one) == netns.identify(one)
    assert len({netns.identify(path) for path in (one, other, '')}) == 3
    assert netns.identify('') == netns.identify(netns.OWN)
    with netns.opened(one) as file:
        assert netns.identify(f'/proc/self/fd/{file}') == netns.identify(one)
    netnses.delete(one)
    with pytest.raises(exceptions.KernelError) as caught:
        netns.identify(one)
    assert caught.value.errno == errno.ENOENT
