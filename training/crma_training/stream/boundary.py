"""Where a stream of rows without domains changes: to a domain known from before, or to a new one."""

from dataclasses import dataclass, field

import numpy as np

from crma_training.stream.two_samples import (
    Vectors,
    closeness,
    discrepancy,
    own_closeness,
    permutation_mmd,
    place_cut,
)

PROVISIONAL = "stream"


@dataclass(frozen=True)
class BoundarySettings:
    """Sizes are rows.

    Attributes:
        warm_up: of a segment before it is recognised as of a domain, and changes of it are looked for.
        reference: newest rows kept of a domain to compare with, at most.
        neighbours: nearest reference rows whose mean cosine is a row's closeness.
        window: newest rows that are not yet settled.
        fewest: behind a boundary, before it is believed.
        allowance, alarm: of Page-Hinkley, in standard deviations of the closeness inside the reference.
        p_value: of the permutation test that confirms, with `permutations`.
        same: discrepancy (`two_samples`) up to which a segment is of a known domain.
        seed: of the permutations.
    """

    warm_up: int = 32
    reference: int = 160
    neighbours: int = 3
    window: int = 32
    fewest: int = 8
    allowance: float = 0.4
    alarm: float = 9.0
    p_value: float = 0.005
    permutations: int = 300
    same: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Boundary:
    """About at row `at` the domain `before` ends; noticed with row `noticed`, both counted from 0."""

    at: int
    noticed: int
    before: str
    p_value: float


@dataclass(frozen=True)
class Segment:
    """The rows from `at` on are of `domain`; `returned` if it was known before, else its name is
    provisional."""

    at: int
    domain: str
    returned: bool
    reason: str


@dataclass(frozen=True)
class Seen:
    """What became clear with one row: (row, domain) for good, a change, and what a segment is."""

    settled: tuple[tuple[int, str], ...] = ()
    boundary: Boundary | None = None
    segment: Segment | None = None


@dataclass
class BoundaryDetector:
    """Reads a stream's vectors one by one; all its state is in these fields.

    The alarm is Page-Hinkley (Page 1954; river) on the rows' closeness to the current domain, the proof a
    permutation test of the maximum mean discrepancy, the place the change point of least cost (ruptures).

    Attributes:
        known: (N, D) vectors by domain.
        current: the segment's domain; "" while a segment is too short to say.
        before, begins: then the domain before it, "" for none, and about where it begins.
        rows: read so far.
        window: (D,) of the newest rows, which are not settled.
        named: provisional names given.
    """

    settings: BoundarySettings = field(default_factory=BoundarySettings)
    known: dict[str, Vectors] = field(default_factory=dict)
    current: str = ""
    before: str = ""
    begins: int = 0
    rows: int = 0
    window: list[Vectors] = field(default_factory=list)
    named: int = 0

    def observe(self, vector: Vectors) -> Seen:
        """Takes the (D,) vector of the next row."""
        self.window.append(np.asarray(vector, np.float32))
        self.rows += 1
        if not self.current:
            enough = self.rows - self.begins >= self.settings.warm_up
            return self._begin() if enough else Seen()
        if (boundary := self._change()) is not None:
            self.current, self.before, self.begins = "", self.current, boundary.at
            return Seen((), boundary)
        return Seen(self._settle(len(self.window) - self.settings.window, self.current))

    def finish(self) -> Seen:
        """The stream has ended: what is left belongs to the current segment."""
        if not self.current and self.window:
            return self._begin()
        return Seen(self._settle(len(self.window), self.current))

    def rename(self, old: str, new: str) -> None:
        """One domain's rows become another's, joined to them if there are any."""
        moved = self.known.pop(old, None)
        if moved is not None:
            self._keep(new, moved)
        self.current = new if self.current == old else self.current
        self.before = new if self.before == old else self.before

    def forget(self, domain: str) -> None:
        """The domain is no longer one that rows return to."""
        self.known.pop(domain, None)
        if self.current == domain:
            self.current, self.before, self.begins = "", "", self._first
        self.before = "" if self.before == domain else self.before

    @property
    def _first(self) -> int:
        """The row of the window's oldest vector."""
        return self.rows - len(self.window)

    def _begin(self) -> Seen:
        """Places the new segment's begin, settles what was before it, and says what it is."""
        settled: tuple[tuple[int, str], ...] = ()
        if self.before and len(self.window) >= self.settings.fewest:
            settled = self._settle(self._cut(self.known[self.before]), self.before)
        at, rows = self._first, np.stack(self.window)
        closest, distance = self._closest(rows)
        returned = closest is not None and distance <= self.settings.same
        self.current = closest if returned and closest is not None else self._new_name()
        reason = f"back to {self.current}" if returned else f"new: {self.current}"
        if closest is not None:
            reason += (
                f"; discrepancy from {closest} {distance:.3f}, up to {self.settings.same} is the same domain"
            )
        segment = Segment(at, self.current, returned, reason)
        return Seen(settled + self._settle(len(self.window), self.current), None, segment)

    def _cut(self, reference: Vectors) -> int:
        """How many of the window's rows belong before the change that ruptures places."""
        recent = np.concatenate([reference[-self.settings.window :], np.stack(self.window)])
        cut = place_cut(recent, self.settings.fewest) - (len(recent) - len(self.window))
        return max(0, cut)

    def _change(self) -> Boundary | None:
        """The boundary inside the window, if its rows show one."""
        settings, reference = self.settings, self.known[self.current]
        if (
            len(self.window) < settings.fewest
            or len(reference) < settings.fewest
            or not self._alarm(reference)
        ):
            return None
        window = np.stack(self.window)
        cut = self._cut(reference)
        generator = np.random.default_rng((settings.seed, self.rows))
        p_value = permutation_mmd(reference, window[cut:], settings.permutations, generator)
        if p_value > settings.p_value:
            return None
        return Boundary(self._first + cut, self.rows - 1, self.current, p_value)

    def _alarm(self, reference: Vectors) -> bool:
        """Whether Page-Hinkley, read from the reference into the window, rings at the newest rows."""
        from river.drift import PageHinkley  # takes a while to load

        settings = self.settings
        usual = own_closeness(reference, settings.neighbours)
        found = closeness(np.stack(self.window), reference, settings.neighbours)
        chart = PageHinkley(1, settings.allowance, settings.alarm, alpha=1.0, mode="up")
        rung = False
        for at, value in enumerate((usual.mean() - np.concatenate([usual, found])) / (usual.std() or 1.0)):
            chart.update(float(value))
            rung |= chart.drift_detected and at >= len(usual)
        return rung

    def _closest(self, rows: Vectors) -> tuple[str | None, float]:
        """The known domain that the rows differ least from, and by how much."""
        if len(rows) < 2:
            return None, np.inf
        found = {
            domain: discrepancy(rows, reference)
            for domain, reference in sorted(self.known.items())
            if len(reference) >= self.settings.fewest
        }
        closest = min(found, key=found.__getitem__, default=None)
        return closest, found[closest] if closest is not None else np.inf

    def _new_name(self) -> str:
        self.named += 1
        return f"{PROVISIONAL}-{self.named}"

    def _settle(self, count: int, domain: str) -> tuple[tuple[int, str], ...]:
        """The window's oldest rows are of the domain."""
        if count <= 0:
            return ()
        first, moved, self.window = self._first, self.window[:count], self.window[count:]
        self._keep(domain, np.stack(moved))
        return tuple((first + at, domain) for at in range(count))

    def _keep(self, domain: str, rows: Vectors) -> None:
        there = self.known.get(domain)
        both = rows if there is None else np.concatenate([there, rows])
        self.known[domain] = both[-self.settings.reference :]
