"""A publisher of releases whose adapters each say a word of their own: what came when, and what it says."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.store import Store
from crma_eval.serving.load.echo import Voice, write_echo


@dataclass(frozen=True)
class Said:
    """What one version is: of which domain and release it is, and the word that it says."""

    domain: str
    release: int
    word: str


@dataclass
class Published:
    """One release of the run, seconds of the monotonic clock. `live_s`: it was seen to answer."""

    number: int
    begun_s: float
    published_s: float | None = None
    live_s: float | None = None

    @property
    def first_answer_s(self) -> float | None:
        """From the moment it was published to its first answer, seconds."""
        return None if self.published_s is None or self.live_s is None else self.live_s - self.published_s


class Publisher:
    """Publishes release after release. Each brings every domain a new adapter, so half of one would show."""

    def __init__(self, store: Store, base: BaseModel, voices: Mapping[str, Sequence[Voice]]) -> None:
        """`voices` by domain: what its adapters say, in turn."""
        self.store = store
        self.base = base
        self.voices = voices
        self.versions: dict[str, Said] = {}
        """Every version of a release that is published."""
        self.releases: list[Published] = []
        """Every release whose publication has begun."""
        self.error: Exception | None = None
        self._going = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def published(self) -> int:
        """The number of the newest release that `release.json` is known to name."""
        return max((each.number for each in self.releases if each.published_s is not None), default=0)

    @property
    def confirmed(self) -> int:
        """The number of the newest release that was seen to answer."""
        return max((each.number for each in self.releases if each.live_s is not None), default=0)

    def version(self, domain: str, number: int) -> str:
        """The version of a domain in a release that is published."""
        wanted = (domain, number)
        return next(name for name, said in self.versions.items() if (said.domain, said.release) == wanted)

    def publish(self) -> Published:
        """Publish the next release; returns when the pointer has moved."""
        number = len(self.releases) + 1
        words = {domain: voices[(number - 1) % len(voices)] for domain, voices in self.voices.items()}
        with TemporaryDirectory() as drafts:
            folders = {
                domain: write_echo(Path(drafts) / domain, domain, voice, self.base, seed=number)
                for domain, voice in words.items()
            }
            entry = Published(number, time.monotonic())
            self.releases.append(entry)
            release = publish_parts(self.store, Publication(adapters=folders))
        assert release.number == number
        for domain, part in release.adapters.items():
            self.versions[part.part.version] = Said(domain, number, words[domain].word)
        entry.published_s = time.monotonic()
        return entry

    def begin(self, pause_s: float) -> None:
        """Publish in a thread from now on, `pause_s` between two releases, whatever becomes of the server."""
        self._thread = threading.Thread(target=self._go_on, args=(pause_s,), daemon=True)
        self._thread.start()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is published within."""
        with self._going:
            yield

    def end(self) -> None:
        """Publish no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _go_on(self, pause_s: float) -> None:
        while not self._stopping.wait(pause_s):
            with self._going:
                try:
                    self.publish()
                except Exception as error:
                    self.error = error
                    return
