# SPDX-License-Identifier: Apache-2.0
"""One worker at a time for each key, and pauses that grow."""

import logging
import threading
import time

import pytest

from kuryr_sriov import PermanentError, TransientError
from kuryr_sriov_daemon.workqueue import WorkQueue

SECONDS = 10


@pytest.fixture
def queue():
    made = WorkQueue(first_pause=0.01, longest_pause=0.05)
    yield made
    made.close()


def test_a_key_is_in_it_once(queue):
    for _ in range(3):
        queue.put('a')
    queue.put('b')
    assert queue.depth() == 2
    assert [queue.take(), queue.take()] == ['a', 'b']
    assert queue.depth() == 0


def test_a_key_falls_due_at_the_earliest_time_it_was_put_for(queue):
    queue.put('a', 60)
    assert queue.depth() == 0
    queue.put('a', 0)
    queue.put('a', 30)
    assert queue.take() == 'a'
    queue.done('a')
    queue.put('b', 0.02)
    began = time.monotonic()
    assert queue.take() == 'b'
    assert time.monotonic() - began >= 0.015


def test_while_a_worker_has_it_nobody_else_gets_it(queue):
    queue.put('a')
    assert queue.take() == 'a'
    queue.put('a')
    queue.put('b')
    assert queue.take() == 'b'
    assert queue.depth() == 0
    queue.done('a')
    assert queue.take() == 'a'


def test_what_was_put_meanwhile_keeps_the_earliest_time(queue):
    queue.put('a')
    queue.take()
    queue.put('a', 60)
    queue.put('a')
    queue.put('a', 30)
    queue.done('a')
    assert queue.take() == 'a'


def test_pauses_grow_to_a_limit_and_begin_again_after_success(queue):
    queue.put('a')
    queue.take()
    pauses = [queue.retry('a') for _ in range(6)]
    for number, pause in enumerate(pauses):
        least = min(0.05, 0.01 * 2**number)
        assert least <= pause <= 1.5 * least
    queue.done('a', well=False)
    assert queue.take() == 'a'
    queue.done('a')
    assert queue.retry('a') <= 0.015


def test_a_pause_is_at_least_what_the_error_says(queue):
    assert 3 <= queue.retry('a', at_least=3) <= 4.5


def test_it_tells_how_long_the_first_waits(queue):
    assert queue.longest_wait() == 0
    queue.put('later', 60)
    assert queue.longest_wait() == 0
    queue.put('a')
    time.sleep(0.02)
    assert queue.longest_wait() >= 0.02


class Work:
    """Raises what it was given, one after the other; then ends the queue."""

    def __init__(self, queue, *errors):
        self.queue = queue
        self.errors = list(errors)
        self.seen = []
        self.observed = []

    def __call__(self, key):
        self.seen.append(key)
        if self.errors:
            raise self.errors.pop(0)
        self.queue.close()

    def observe(self, outcome, seconds):
        assert 0 <= seconds < SECONDS
        self.observed.append(outcome)


def test_what_fails_is_logged_and_tried_again(queue, caplog):
    caplog.set_level(logging.INFO)
    work = Work(
        queue,
        TransientError('no answer', retry_after=0.01),
        PermanentError('no such network'),
        LookupError('a defect'),
    )
    queue.put('a')
    queue.serve(work, work.observe)
    assert work.seen == ['a'] * 4
    failed = ['TransientError', 'PermanentError', 'LookupError']
    assert work.observed == [*failed, 'done']
    seen = [(one.levelname, bool(one.exc_info)) for one in caplog.records]
    assert seen == [('INFO', False), ('WARNING', False), ('ERROR', True)]
    assert 'a: no such network; again in 0.' in caplog.text


@pytest.mark.parametrize(
    ('error', 'least'),
    [
        (TransientError('no answer', retry_after=3), 3),
        (PermanentError('no such network'), 5),
        (LookupError('a defect'), 5),
    ],
)
def test_it_waits_as_long_as_the_error_asks_for(error, least, caplog):
    caplog.set_level(logging.INFO)
    queue = WorkQueue(0.01, 0.05, permanent_pause=5)

    def fail(key):
        queue.close()
        raise error

    queue.put('a')
    queue.serve(fail)
    pause = float(caplog.messages[0].split('again in ')[1].split()[0])
    assert least <= pause <= 1.5 * least


def test_closing_sends_all_workers_home(queue):
    found = []
    workers = [
        threading.Thread(target=lambda: found.append(queue.take()))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    queue.close()
    for worker in workers:
        worker.join(SECONDS)
    assert found == [None] * 3


def test_no_key_is_lost_or_shared_among_many_workers(queue):
    """Each put leads to a look that begins after it."""
    numbers = dict.fromkeys(range(20), 0)
    seen = dict.fromkeys(numbers, 0)
    busy, clashes = set(), []

    def work():
        while (key := queue.take()) is not None:
            if key in busy:
                clashes.append(key)
            busy.add(key)
            seen[key] = numbers[key]
            busy.discard(key)
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for number in range(1, 101):
        for key in numbers:
            numbers[key] = number
            queue.put(key)
    deadline = time.monotonic() + SECONDS
    while seen != numbers and time.monotonic() < deadline:
        time.sleep(0.01)
    queue.close()
    for worker in workers:
        worker.join(SECONDS)
    assert seen == numbers
    assert clashes == []


class Crew:
    """Eight workers; what is of the hung lane waits until it is let go."""

    def __init__(self):
        self.queue = WorkQueue(0.01, 0.05, workers=8)
        self.done = []
        self.begun = []
        self.hanging = threading.Semaphore(0)
        self.fails = True
        self.threads = [
            threading.Thread(target=self.work, daemon=True) for _ in range(8)
        ]
        for thread in self.threads:
            thread.start()

    def work(self):
        while (key := self.queue.take()) is not None:
            self.begun.append(key)
            hung = key.startswith('hung') and self.fails
            if hung:
                self.hanging.acquire()
                self.queue.retry(key)
            else:
                self.done.append(key)
            self.queue.done(key, well=not hung, slow=hung)

    def put(self, lane, number):
        for index in range(number):
            self.queue.put(f'{lane}{index}', lane=lane)

    def let_go(self, number):
        self.hanging.release(number)

    def hang(self):
        """How many workers are at something that hangs."""
        begun = [key for key in self.begun if key.startswith('hung')]
        return len(begun)

    def end(self):
        self.fails = False
        self.let_go(1000)
        self.queue.close()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def crew():
    crew = Crew()
    yield crew
    crew.end()


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_hangs_never_has_all_workers(crew):
    crew.put('hung', 100)
    wait_for(lambda: crew.hang() == 2)
    crew.put('well', 100)
    wait_for(lambda: len(crew.done) == 100)
    assert crew.hang() == 2


def test_what_hung_has_one_worker_until_it_succeeds(crew):
    crew.put('hung', 100)
    wait_for(lambda: crew.hang() == 2)
    crew.let_go(2)
    wait_for(lambda: crew.hang() == 3)
    crew.let_go(1)
    wait_for(lambda: crew.hang() == 4)
    crew.put('well', 100)
    wait_for(lambda: len(crew.done) == 100)
    assert crew.hang() == 4
    crew.fails = False
    crew.let_go(1)
    # All of them: none is forgotten where it waits.
    wait_for(lambda: {f'hung{n}' for n in range(100)} <= {*crew.done})


def test_a_key_that_waits_for_its_lane_may_be_put_earlier():
    """Its first place in the lane is then nobody's, and keeps none."""
    queue = WorkQueue(workers=4)
    queue.put('first', lane='slow')
    assert queue.take() == 'first'
    queue.done('first', well=False, slow=True)
    queue.put('second', lane='slow')
    assert queue.take() == 'second'
    for number, delay in enumerate((0, -60)):
        queue.put('third', delay, lane='slow')
        queue.put(f'other{number}')
        assert queue.take() == f'other{number}'
        queue.done(f'other{number}')
    queue.done('second', well=False, slow=True)
    queue.put('much later', 0.1)
    assert queue.take() == 'third'


def test_lanes_that_are_over_are_forgotten(crew):
    for lane in range(50):
        crew.put(f'well-{lane}-', 1)
    wait_for(lambda: len(crew.done) == 50)
    wait_for(lambda: not crew.queue._taken)
    assert not crew.queue._lanes._lanes
    assert not crew.queue._lane
