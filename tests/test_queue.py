"""The calendar: whatever is sent arrives once, in its bucket, and nothing is left."""

import numpy as np
import pytest

from evsim._layout import (
    BY,
    DENSE,
    FREE,
    FRESH,
    IN_FLIGHT,
    LATE,
    LISTED,
    LOADED,
    N_DUE,
    N_ROWS,
    NEXT,
    RECORD,
    TIME,
    WEIGHT,
)
from evsim._queue import (
    OK,
    RING,
    WINDOWS,
    clear,
    consume_due,
    consume_rows,
    load,
    next_bucket,
    send,
    sort_rows,
    window_of,
)

PRE, POSTS, DURATION = 20, 30, 1.0


@pytest.fixture(params=[1e-4, 1e-2, 0.3])
def width(request):
    return request.param


class Calendar:
    """One dense and one listed projection, delays up to beyond the ring, and their record."""

    def __init__(self, seed, width):
        rng = np.random.default_rng(seed)
        self.rng, self.width = rng, width
        self.axonal = np.concatenate([rng.uniform(0, 0.3, PRE), np.zeros(PRE)])
        fan = rng.integers(0, 9, PRE)
        self.indptr = np.concatenate([[0], np.cumsum(fan)])
        late = np.concatenate([np.sort(rng.choice([0, 0.001, 0.4], n)) for n in fan])
        target = rng.integers(0, POSTS, len(late)).astype(float)
        self.synapses = np.stack([late, rng.normal(size=len(late)), target], axis=1).ravel()
        self.rows = np.array([[DENSE, 0, POSTS, 0, 0, 0, 1], [LISTED, 0, POSTS, PRE, 0, 0, 1]])
        self.maps = np.zeros((0, 12), np.int64)
        self.head, self.flight = np.zeros(RING, np.int64), np.zeros((500, 8), np.int64)
        self.sent = np.zeros(500)
        self.row_time = np.zeros((WINDOWS, 500))
        self.row_from = np.zeros((2, WINDOWS, 500), np.int64)
        self.due = np.zeros((2, WINDOWS, 2000))
        self.due_post = np.zeros((WINDOWS, 2000), np.int64)
        self.n_due = np.zeros((2, WINDOWS), np.int64)
        self.edges, self.n = np.zeros(WINDOWS + 1), np.zeros(4, np.int64)
        clear(self.head, self.n_due, self.n)
        self.expected, self.arrived = [], []

    def send(self, t, pre, projection, begin=0.0):
        status = send(
            t, pre, projection, self.width, begin, DURATION, self.rows, self.maps, self.axonal,
            self.indptr, self.synapses, self.head, self.flight, self.sent, self.n,
        )  # fmt: skip
        assert status == OK
        start = t + self.axonal[projection * PRE + pre]
        if projection == 0:
            arrivals = [(start, -1)]
        else:
            records = self.synapses.reshape(-1, RECORD)[self.indptr[pre] : self.indptr[pre + 1]]
            arrivals = [(start + record[LATE], int(record[2])) for record in records]
        self.expected += [a for a in arrivals if begin <= a[0] < DURATION]

    def load(self, bucket):
        status = load(
            bucket, self.width, DURATION, self.rows, self.maps, self.synapses, self.head,
            self.flight, self.sent, self.row_time, self.row_from, self.due, self.due_post,
            self.n_due, self.edges, self.n,
        )  # fmt: skip
        assert status == OK

    def take(self):
        """Record and drop what is due in the windows of the current bucket."""
        for w in range(WINDOWS):
            rows, m = self.n_due[:, w]
            sort_rows(self.row_time[w], self.row_from[:, w], rows)
            times = self.row_time[w, :rows]
            assert (np.diff(times) >= 0).all()
            assert (self.row_from[BY, w, :rows] == 0).all()
            arrived = [(t, -1) for t in times]
            arrived += list(zip(self.due[TIME, w, :m], self.due_post[w, :m], strict=True))
            for t, _ in arrived:
                assert window_of(t, self.width) == self.n[LOADED] * WINDOWS + w
            self.arrived += arrived
            self.drop(w, np.inf)

    def drop(self, w, limit):
        rows, m = self.n_due[:, w]
        due, post = self.due[:, w], self.due_post[w]
        self.n_due[N_ROWS, w] = consume_rows(self.row_time[w], self.row_from[:, w], rows, limit)
        self.n_due[N_DUE, w] = consume_due(due[TIME], due[WEIGHT], post, m, limit)

    def check(self):
        """Every item is fresh, free or in exactly one bucket."""
        free, item = 0, self.n[FREE]
        while item >= 0:
            free, item = free + 1, self.flight[item, NEXT]
        waiting = 0
        for item in self.head:
            while item >= 0:
                waiting, item = waiting + 1, self.flight[item, NEXT]
        assert waiting == self.n[IN_FLIGHT]
        assert free + waiting == self.n[FRESH]


@pytest.mark.parametrize("seed", range(5))
def test_everything_sent_arrives_once_in_its_bucket(seed, width):
    calendar = Calendar(seed, width)
    for _ in range(60):
        begin = 0.15 * (calendar.rng.random() < 0.5)  # of the stretch; the spike may be older
        calendar.send(calendar.rng.uniform(0, 0.2), int(calendar.rng.integers(PRE)), 0, begin)
        calendar.send(calendar.rng.uniform(0, 0.2), int(calendar.rng.integers(PRE)), 1, begin)
    calendar.check()
    while (bucket := next_bucket(calendar.head, calendar.n)) >= 0:
        calendar.load(bucket)
        calendar.take()
        calendar.check()
        if calendar.rng.random() < 0.2:  # a spike sent meanwhile may be due in this bucket
            now = bucket * WINDOWS * width
            calendar.send(now + 0.999 * width * calendar.rng.random(), 3, 1)
            calendar.load(bucket)
            calendar.take()
    assert sorted(calendar.arrived) == sorted(calendar.expected)
    assert calendar.n[IN_FLIGHT] == 0


def test_consume_keeps_what_is_not_yet_due():
    calendar = Calendar(0, 0.3)
    for t in (0.01, 0.02, 0.25):
        for pre in range(PRE):
            calendar.send(t, pre, 1)
    calendar.load(0)
    before = sorted(calendar.due[TIME, 0, : calendar.n_due[N_DUE, 0]])
    calendar.drop(0, 0.02)
    after = sorted(calendar.due[TIME, 0, : calendar.n_due[N_DUE, 0]])
    assert after == [t for t in before if t >= 0.02]
    assert len(after) < len(before)


def test_a_cleared_calendar_has_all_its_items_again():
    calendar = Calendar(1, 0.3)
    for pre in range(PRE):
        calendar.send(0.1, pre, 0)
        calendar.send(0.5, pre, 1)
    assert calendar.n[IN_FLIGHT] > 0
    clear(calendar.head, calendar.n_due, calendar.n)
    calendar.check()
    assert calendar.n[IN_FLIGHT] == calendar.n[FRESH] == 0
