"""What was published when, and which version may therefore answer a request.

Owns: the two bounds. Knows nothing of servers or requests. All times are seconds of one monotonic clock.
"""

from dataclasses import dataclass


@dataclass
class Published:
    """One release of the run. `begun_s`: its publisher set to work; `live_s`: it was seen to answer."""

    number: int
    version: str
    word: str
    begun_s: float
    published_s: float | None = None
    live_s: float | None = None

    @property
    def first_answer_s(self) -> float | None:
        """From the moment it was published to its first answer, seconds."""
        return None if self.published_s is None or self.live_s is None else self.live_s - self.published_s


class Timeline:
    """Releases in the order they were published."""

    def __init__(self) -> None:
        self.releases: list[Published] = []

    def begin(self, release: Published) -> None:
        self.releases.append(release)

    def confirmed(self) -> Published:
        """The newest release that the server was seen to serve."""
        return next(release for release in reversed(self.releases) if release.live_s is not None)

    def begun(self) -> Published:
        """The newest release that the server could serve by now."""
        return self.releases[-1]

    def of_version(self, version: str) -> Published | None:
        return next((release for release in self.releases if release.version == version), None)

    def of_word(self, word: str) -> Published | None:
        return next((release for release in self.releases if release.word == word), None)
