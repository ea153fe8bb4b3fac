# SPDX-License-Identifier: Apache-2.0
"""A live copy of objects, whatever its watch and its server do."""

import contextlib
import threading
import types

import pytest
from guards import guard

from kuryr_sriov.clients.kubernetes import watch
from kuryr_sriov.clients.kubernetes.watch import (
    LONGEST_PAUSE,
    Change,
    ObjectCache,
)
from kuryr_sriov.exceptions import TransientError

PATH = '/api/v1/pods'
SECONDS = 10


def pod(name, version, **more):
    metadata = {'uid': f'uid-{name}', 'name': name, 'namespace': 'ns'}
    return {'metadata': metadata | {'resourceVersion': version}, **more}


def listed(*pods, version='10', token=''):
    metadata = {'resourceVersion': version, 'continue': token}
    content = {'kind': 'PodList', 'metadata': metadata, 'items': list(pods)}
    return lambda request: request.answer(200, content)


def bookmark(version):
    metadata = {'resourceVersion': version}
    return {
        'type': 'BOOKMARK',
        'object': {'kind': 'Pod', 'metadata': metadata},
    }


class Watched:
    """What a watch sends, as the test decides; and how it ends."""

    def __init__(self):
        self.begun = threading.Event()
        self._over = threading.Event()
        self._request = None

    def __call__(self, request):
        request.begin_stream()
        self._request = request
        self.begun.set()
        self._over.wait(SECONDS)

    def send(self, kind, body):
        assert self.begun.wait(SECONDS)
        self._request.send_event({'type': kind, 'object': body})

    def send_raw(self, data):
        assert self.begun.wait(SECONDS)
        self._request.wfile.write(b'%x\r\n%b\r\n' % (len(data), data))

    def end(self):
        assert self.begun.wait(SECONDS)
        self._request.end_stream()
        self._over.set()

    def cut(self):
        """As a connection that breaks."""
        assert self.begun.wait(SECONDS)
        self._request.hang_up()
        self._over.set()

    def release(self):
        self._over.set()


class Followed:
    """A cache that runs in a thread, and the changes that it told."""

    def __init__(self, session, **options):
        self.changes = []
        self._told = threading.Condition()
        self.cache = ObjectCache(
            session,
            PATH,
            lambda body: (
                body['metadata']['resourceVersion']
                if body.get('spec') != 'boring'
                else None
            ),
            self._note,
            **options,
        )
        guard(self.cache, '_stream')
        self._thread = threading.Thread(target=self.cache.run)
        self._thread.start()

    def _note(self, change):
        with self._told:
            self.changes.append(change)
            self._told.notify_all()

    def wait_for(self, condition):
        with self._told:
            assert self._told.wait_for(condition, SECONDS), self.changes

    def wait_changes(self, number):
        self.wait_for(lambda: len(self.changes) >= number)
        return self.changes[:number]

    def close(self):
        self.cache.stop()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


@pytest.fixture
def follow(server, session, monkeypatch):
    monkeypatch.setattr(watch, 'LONGEST_PAUSE', 0.05)
    with contextlib.ExitStack() as stack:

        def follow(*answers, **options):
            server.answers[PATH].extend(answers)
            for answer in answers:
                if isinstance(answer, Watched):
                    stack.callback(answer.release)
            followed = Followed(session, **options)
            stack.callback(followed.close)
            return followed

        yield follow


def test_it_has_what_is_listed_and_what_changes(server, follow):
    stream = Watched()
    followed = follow(
        listed(pod('a', '1'), token='more'), listed(pod('b', '2')), stream
    )
    assert followed.cache.wait_complete(SECONDS)
    stream.send('MODIFIED', pod('a', '11'))
    stream.send('ADDED', pod('c', '12'))
    stream.send('DELETED', pod('b', '13'))
    assert followed.wait_changes(5) == [
        Change('uid-a', None, '1'),
        Change('uid-b', None, '2'),
        Change('uid-a', '1', '11'),
        Change('uid-c', None, '12'),
        Change('uid-b', '2', None, deleted=True),
    ]
    assert followed.cache.all() == {'uid-a': '11', 'uid-c': '12'}
    assert followed.cache.get('uid-a') == '11'
    assert len(followed.cache) == 2
    assert server.asked(PATH)[2]['resourceVersion'] == '10'


def test_it_keeps_nothing_of_what_is_of_no_interest(follow):
    stream = Watched()
    followed = follow(listed(pod('a', '1', spec='boring')), stream)
    stream.send('ADDED', pod('b', '2'))
    stream.send('MODIFIED', pod('b', '3', spec='boring'))
    followed.wait_changes(2)
    assert followed.cache.all() == {}
    assert followed.changes[1] == Change('uid-b', '2', None)


def test_the_deletion_of_what_was_not_kept_is_told(follow):
    """Its annotation may have been taken away while it had a port."""
    stream = Watched()
    followed = follow(listed(), stream)
    stream.send('DELETED', pod('a', '11', spec='boring'))
    assert followed.wait_changes(1) == [
        Change('uid-a', None, None, deleted=True)
    ]


def test_an_object_that_is_as_it_was_is_told_once(follow):
    stream = Watched()
    followed = follow(listed(pod('a', '1')), stream)
    stream.send('MODIFIED', pod('a', '1'))
    stream.send('MODIFIED', pod('a', '2'))
    followed.wait_changes(2)
    assert [change.new for change in followed.changes] == ['1', '2']


@pytest.mark.parametrize('ending', ['end', 'cut'])
def test_a_watch_that_ends_goes_on_where_it_was(server, follow, ending):
    """A bookmark counts as well; nothing is listed again."""
    first, second = Watched(), Watched()
    followed = follow(listed(), first, second)
    first.send('ADDED', pod('a', '11'))
    first.send('BOOKMARK', bookmark('20')['object'])
    followed.wait_changes(1)
    getattr(first, ending)()
    second.send('ADDED', pod('b', '21'))
    followed.wait_changes(2)
    queries = server.asked(PATH)
    assert ['watch' in query for query in queries] == [False, True, True]
    assert queries[2]['resourceVersion'] == '20'
    assert queries[2]['allowWatchBookmarks'] == 'true'


@pytest.mark.parametrize('how', ['answer', 'event'])
def test_a_past_that_is_gone_is_listed_again(follow, how):
    """And what vanished meanwhile is missing, which proves nothing."""
    stream, later = Watched(), Watched()
    gone = {'kind': 'Status', 'code': 410, 'message': 'too old'}
    expired = (
        stream
        if how == 'event'
        else (lambda request: request.answer(410, gone))
    )
    followed = follow(
        listed(pod('a', '1'), pod('b', '2')),
        expired,
        listed(pod('b', '2'), pod('c', '30'), version='30'),
        later,
    )
    if how == 'event':
        stream.send('ERROR', gone)
        stream.release()
    assert later.begun.wait(SECONDS)
    assert followed.wait_changes(4)[2:] == [
        Change('uid-c', None, '30'),
        Change('uid-a', '1', None, deleted=False),
    ]


def test_a_list_that_expires_half_way_is_begun_again(follow):
    stream = Watched()
    gone = {'kind': 'Status', 'code': 410, 'message': 'too old'}
    followed = follow(
        listed(pod('a', '1'), token='more'),
        lambda request: request.answer(410, gone),
        listed(pod('b', '2')),
        stream,
    )
    assert followed.cache.wait_complete(SECONDS)
    assert followed.cache.all() == {'uid-b': '2'}


def test_a_silent_watch_is_given_up(follow):
    """A server that accepts and never says a word again."""
    silent, second = Watched(), Watched()
    followed = follow(listed(), silent, second, silence=0.2)
    assert silent.begun.wait(SECONDS)
    second.send('ADDED', pod('a', '11'))
    followed.wait_changes(1)
    assert followed.cache.trouble is None


def test_trouble_is_told_until_it_is_over(follow):
    """Roles and credentials heal without a restart."""
    refused = {'kind': 'Status', 'message': 'forbidden'}
    stream = Watched()
    seen = threading.Event()
    go_on = threading.Event()

    def no(request):
        request.answer(403, refused)

    def wait_then_no(request):
        seen.set()
        assert go_on.wait(SECONDS)
        request.answer(403, refused)

    followed = follow(no, wait_then_no, listed(), stream)
    assert seen.wait(SECONDS)
    assert 'forbidden' in str(followed.cache.trouble)
    assert not followed.cache.is_complete
    go_on.set()
    assert stream.begun.wait(SECONDS)
    stream.send('ADDED', pod('a', '11'))
    followed.wait_changes(1)
    assert followed.cache.trouble is None


def test_a_refusal_that_breaks_off_is_trouble_like_others(follow):
    """An API server that starts: it knows no roles yet, and is slow."""

    def refuse(request):
        request.send_response(403)
        request.send_header('Transfer-Encoding', 'chunked')
        request.end_headers()
        request.wfile.write(b'ff\r\n{"kind"')
        request.hang_up()

    stream = Watched()
    followed = follow(listed(), refuse, stream)
    stream.send('ADDED', pod('a', '11'))
    followed.wait_changes(1)
    assert followed.cache.all() == {'uid-a': '11'}


def test_a_defect_of_whoever_is_told_does_not_end_it(server, session, caplog):
    told = threading.Event()

    def fail_once(change):
        if change.key == 'uid-a':
            raise KeyError('a defect')
        told.set()

    stream = Watched()
    server.answers[PATH].extend(
        [listed(pod('a', '1')), listed(pod('b', '2')), stream]
    )
    cache = ObjectCache(session, PATH, lambda body: body, fail_once)
    thread = threading.Thread(target=cache.run)
    thread.start()
    assert told.wait(SECONDS)
    assert stream.begun.wait(SECONDS)
    cache.stop()
    stream.release()
    thread.join(SECONDS)
    assert 'a defect' in caplog.text


def test_what_is_no_event_is_trouble_and_nothing_else(follow):
    stream, second = Watched(), Watched()
    followed = follow(listed(pod('a', '1')), stream, second)
    stream.send_raw(b'rubbish\n')
    assert second.begun.wait(SECONDS)
    assert followed.cache.all() == {'uid-a': '1'}


def test_it_stops_while_a_watch_says_nothing(follow):
    stream = Watched()
    followed = follow(listed(), stream)
    assert stream.begun.wait(SECONDS)
    followed.close()
    followed.close()


def test_selectors_are_for_list_and_watch(server, follow):
    stream = Watched()
    follow(listed(), stream, query={'fieldSelector': 'spec.nodeName=n1'})
    assert stream.begun.wait(SECONDS)
    assert {query['fieldSelector'] for query in server.asked(PATH)} == {
        'spec.nodeName=n1'
    }


def test_objects_can_be_told_apart_by_name(follow):
    stream = Watched()
    followed = follow(listed(pod('a', '1')), stream, key=watch.name_of)
    assert followed.cache.wait_complete(SECONDS)
    assert followed.cache.get(('ns', 'a')) == '1'


def test_pauses_grow_while_it_fails_and_are_never_the_same(session):
    cache = ObjectCache(session, PATH, dict)
    pauses = []

    def fail():
        raise TransientError('away')

    def wait(seconds):
        pauses.append(seconds)
        if len(pauses) == 12:
            cache.stop()

    stopping = cache._stopping
    cache._stopping = types.SimpleNamespace(
        wait=wait, set=stopping.set, is_set=stopping.is_set
    )
    cache._list_and_watch = fail
    cache.run()
    assert len(pauses) == 12
    for number, seconds in enumerate(pauses, 2):
        longest = min(LONGEST_PAUSE, 0.25 * 2**number)
        assert longest / 2 <= seconds <= longest
    assert len({*pauses[-5:]}) > 1
    assert str(cache.trouble) == 'away'
