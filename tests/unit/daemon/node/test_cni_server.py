# SPDX-License-Identifier: Apache-2.0
"""The socket that the CNI plugin talks to."""

import contextlib
import http.client
import json
import os
import socket
import stat
import threading
import time

import pytest

from kuryr_sriov import NotAllocated, TransientError
from kuryr_sriov_daemon.node import cni_server
from kuryr_sriov_daemon.node.cni_server import CniServer

HEADERS = {
    'X-CNI-Command': 'DEL',
    'X-CNI-ContainerID': 'container1',
    'X-CNI-IfName': 'eth0',
}
CONFIG = b'{"cniVersion": "1.0.0"}'


class Commands:
    """Does what a test says."""

    def __init__(self):
        self.serve = lambda request, gone: {'dns': {}}
        self.finished = []
        self.finish = lambda request, delivered: self.finished.append(
            (request.command, delivered)
        )


@pytest.fixture
def commands():
    return Commands()


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cni.sock'


@pytest.fixture
def server(path, commands):
    server = CniServer(path, commands)
    yield server
    server.stop(10)


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('kuryr-sriov', timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def ask(path, body=CONFIG, headers=HEADERS, method='POST', target='/cni'):
    """Status and body of the answer."""
    with contextlib.closing(Connection(path)) as connection:
        # One that is refused may not be read to its end.
        with contextlib.suppress(BrokenPipeError):
            connection.request(method, target, body, headers)
        response = connection.getresponse()
        data = response.read()
    return response.status, json.loads(data) if data else None


@contextlib.contextmanager
def asking(path):
    """A client that has asked, and not read the answer."""
    with contextlib.closing(Connection(path)) as connection:
        connection.request('POST', '/cni', CONFIG, HEADERS)
        yield connection


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_result_is_the_answer(server, path, commands):
    assert ask(path) == (200, {'dns': {}})
    wait_for(lambda: commands.finished)
    assert commands.finished == [('DEL', True)]


def test_a_result_may_be_empty(server, path, commands):
    commands.serve = lambda request, gone: None
    assert ask(path) == (200, None)


@pytest.mark.parametrize(
    ('error', 'status', 'code', 'words'),
    [
        (TransientError('wait a bit'), 503, 11, 'wait a bit'),
        (NotAllocated('too few VFs'), 500, 102, 'too few VFs'),
        (ValueError('oops'), 500, 999, 'a defect of kuryr-sriov: ValueError'),
    ],
)
def test_an_error_is_the_answer_and_in_the_log(
    server, path, commands, caplog, error, status, code, words
):
    def fail(request, gone):
        raise error

    caplog.set_level('INFO')
    commands.serve = fail
    found, body = ask(path)
    assert found == status
    assert body['cniVersion'] == '1.0.0'
    assert body['code'] == code
    assert words in body['msg']
    assert 'CNI DEL container1 eth0' in caplog.text
    assert not commands.finished


@pytest.mark.parametrize(
    ('request_', 'code'),
    [
        ({'target': '/other'}, 6),
        ({'body': b'{'}, 6),
        ({'body': b'{}'}, 1),
        ({'headers': {}}, 4),
        ({'headers': {**HEADERS, 'Content-Length': '-1'}}, 6),
        ({'headers': {**HEADERS, 'Content-Length': str(2 << 20)}}, 6),
        ({'body': iter([CONFIG])}, 6),  # in chunks
    ],
)
def test_what_is_no_request_is_refused(server, path, commands, request_, code):
    status, body = ask(path, **request_)
    assert (status, body['code']) == (400, code)
    assert not commands.finished


def test_a_request_that_is_cut_short_is_refused(server, path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        head = b'POST /cni HTTP/1.1\r\nContent-Length: 9\r\n\r\n{'
        client.sendall(head)
        client.shutdown(socket.SHUT_WR)
        with client.makefile('rb') as answer:
            assert b'cut short' in answer.read()


def test_a_request_may_be_as_large_as_is_said_and_no_larger(
    server, path, monkeypatch
):
    monkeypatch.setattr(cni_server, 'LARGEST', len(CONFIG))
    assert ask(path)[0] == 200
    status, body = ask(path, CONFIG + b' ')
    assert (status, body['code']) == (400, 6)
    assert f'more than {len(CONFIG)} bytes' in body['msg']


def test_an_answer_says_how_long_it_is_and_is_the_last(server, path):
    with contextlib.closing(Connection(path)) as connection:
        connection.request('POST', '/cni', CONFIG, HEADERS)
        response = connection.getresponse()
        data = response.read()
        length = response.getheader('Content-Length')
    assert int(length) == len(data) > 0
    assert response.getheader('Connection') == 'close'


def test_it_ends_all_the_same_where_somebody_has_removed_its_socket(
    path, commands
):
    server = CniServer(path, commands)
    path.unlink()
    assert server.stop(10)
    assert not server._thread.is_alive()


def test_a_client_that_sends_nothing_does_not_stay(
    path, commands, monkeypatch
):
    monkeypatch.setattr(cni_server._Handler, 'timeout', 0.05)
    server = CniServer(path, commands)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert client.recv(1) == b''
    assert server.stop(10)


def test_nobody_else_may_ask(server, path, commands, monkeypatch):
    stranger = os.geteuid() + 1
    monkeypatch.setattr(cni_server, '_peer_uid', lambda socket: stranger)
    status, body = ask(path)
    assert (status, body['code']) == (400, 4)
    assert f'user {stranger} may not use this socket' in body['msg']
    assert not commands.finished


def test_the_kernel_tells_who_asks():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert cni_server._peer_uid(ours) == os.geteuid()


def test_nobody_else_can_connect(server, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_socket_that_a_killed_daemon_left_is_replaced(path, commands):
    for name in (path.name, f'{path.name}.new'):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path.with_name(name)))
    server = CniServer(path, commands)
    assert ask(path)[0] == 200
    server.stop(10)
    assert os.listdir(path.parent) == []


def test_it_sees_that_the_plugin_has_given_up(server, path, commands):
    seen = threading.Event()

    def serve(request, gone):
        assert not gone()
        asked.set()
        wait_for(gone)
        seen.set()

    asked = threading.Event()
    commands.serve = serve
    with asking(path):
        asked.wait(20)
    assert seen.wait(20)
    wait_for(lambda: commands.finished)
    assert commands.finished == [('DEL', False)]


def test_what_comes_after_the_answer_is_not_waited_for(server, path, commands):
    go_on = threading.Event()
    commands.finish = lambda request, delivered: go_on.wait(20)
    assert ask(path)[0] == 200
    assert not go_on.is_set()
    go_on.set()


def test_too_many_at_once_are_told_to_try_again(
    server, path, commands, monkeypatch
):
    monkeypatch.setattr(cni_server, 'MOST_AT_ONCE', 1)
    serving, go_on = threading.Event(), threading.Event()

    def serve(request, gone):
        serving.set()
        go_on.wait(20)

    commands.serve = serve
    with asking(path) as first:
        serving.wait(20)
        with socket.socket(socket.AF_UNIX) as second:
            second.connect(str(path))
            answer = http.client.HTTPResponse(second)
            answer.begin()
            body = json.loads(answer.read())
        assert (answer.status, body['code']) == (503, 11)
        go_on.set()
        assert first.getresponse().status == 200


def test_it_ends_when_what_is_in_progress_has(path, commands):
    serving, go_on = threading.Event(), threading.Event()

    def serve(request, gone):
        serving.set()
        go_on.wait(20)

    commands.serve = serve
    server = CniServer(path, commands)
    with asking(path) as connection:
        serving.wait(20)
        assert not server.stop(0.05)
        with pytest.raises(OSError):  # noqa: PT011
            ask(path)
        go_on.set()
        assert connection.getresponse().status == 200
