"""The calendar: whatever is sent arrives once, in its bucket, and nothing is left."""

import numpy as np
import pytest

from evsim._layout import (
    BY,
    DENSE,
    FREE,
    IN_FLIGHT,
    LATE,
    LISTED,
    LOADED,
    N_DUE,
    N_ROWS,
    NEXT,
    POST,
    RECORD,
    TIME,
)
from evsim._queue import OK, RING, bucket_of, clear, consume, load, next_bucket, send

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
        self.head = np.zeros(RING, np.int64)
        self.flight, self.sent = np.zeros((500, 8), np.int64), np.zeros(500)
        self.rows_due, self.rows_from = np.zeros((3, 500)), np.zeros((2, 500), np.int64)
        self.due, self.due_at = np.zeros((4, 2000)), np.zeros((2, 2000), np.int64)
        self.n = np.zeros(5, np.int64)
        clear(self.head, self.flight, self.n)
        self.expected, self.arrived = [], []

    def send(self, t, pre, projection):
        status = send(
            t, pre, projection, self.width, DURATION, self.rows, self.maps, self.axonal,
            self.indptr, self.synapses, self.head, self.flight, self.sent, self.n,
        )  # fmt: skip
        assert status == OK
        start = t + self.axonal[projection * PRE + pre]
        if projection == 0:
            arrivals = [(start, -1)]
        else:
            records = self.synapses.reshape(-1, RECORD)[self.indptr[pre] : self.indptr[pre + 1]]
            arrivals = [(start + record[LATE], int(record[2])) for record in records]
        self.expected += [a for a in arrivals if a[0] < DURATION]

    def load(self, bucket):
        status = load(
            bucket, self.width, DURATION, self.rows, self.maps, self.synapses, self.head,
            self.flight, self.sent, self.rows_due, self.rows_from, self.due, self.due_at, self.n,
        )  # fmt: skip
        assert status == OK

    def take(self):
        """Record and drop what is due in the current bucket."""
        times = self.rows_due[TIME, : self.n[N_ROWS]]
        assert (np.diff(times) >= 0).all()
        assert (self.rows_from[BY, : self.n[N_ROWS]] == 0).all()
        self.arrived += [(t, -1) for t in times]
        m = self.n[N_DUE]
        self.arrived += list(zip(self.due[TIME, :m], self.due_at[POST, :m], strict=True))
        for t, _ in self.arrived[-(m + len(times)) :] if m + len(times) else []:
            assert bucket_of(t, self.width) == self.n[LOADED]
        consume(self.rows_due, self.rows_from, self.due, self.due_at, self.n, np.inf)

    def check(self):
        """Every item is either free or in exactly one bucket."""
        free, item = 0, self.n[FREE]
        while item >= 0:
            free, item = free + 1, self.flight[item, NEXT]
        waiting = 0
        for item in self.head:
            while item >= 0:
                waiting, item = waiting + 1, self.flight[item, NEXT]
        assert waiting == self.n[IN_FLIGHT]
        assert free + waiting == len(self.flight)


@pytest.mark.parametrize("seed", range(5))
def test_everything_sent_arrives_once_in_its_bucket(seed, width):
    calendar = Calendar(seed, width)
    for _ in range(60):
        calendar.send(calendar.rng.uniform(0, 0.2), int(calendar.rng.integers(PRE)), 0)
        calendar.send(calendar.rng.uniform(0, 0.2), int(calendar.rng.integers(PRE)), 1)
    calendar.check()
    while (bucket := next_bucket(calendar.head, calendar.n)) >= 0:
        calendar.load(bucket)
        calendar.take()
        calendar.check()
        if calendar.rng.random() < 0.2:  # a spike sent meanwhile may be due in this bucket
            now = max(bucket * width, 0.0)
            calendar.send(now + 0.999 * width * calendar.rng.random(), 3, 1)
            calendar.load(bucket)
            calendar.take()
    assert sorted(calendar.arrived) == sorted(calendar.expected)
    assert calendar.n[IN_FLIGHT] == 0
