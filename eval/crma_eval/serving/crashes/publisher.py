"""A publisher that goes on publishing, whatever becomes of the server.

Owns: what is published and what was said to be. Knows nothing of servers.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.store import Store
from crma_eval.serving.echo import Voice, write_echo


@dataclass(frozen=True)
class Said:
    """What one version is: of which domain and release it is, and the word that it says."""

    domain: str
    release: int
    word: str


class Publisher(threading.Thread):
    """Publishes release after release. Each brings every domain a new adapter, so half of one would show."""

    def __init__(
        self, store: Store, base: BaseModel, voices: Mapping[str, Sequence[Voice]], pause_s: float
    ) -> None:
        """`voices` by domain: what its adapters say, in turn. `pause_s` lies between two releases."""
        super().__init__(daemon=True)
        self.versions: dict[str, Said] = {}
        """Every version of a release that is published."""
        self.published = 0
        """The number of the newest release that `release.json` is known to name."""
        self.error: Exception | None = None
        self._store = store
        self._base = base
        self._voices = voices
        self._pause_s = pause_s
        self._going = threading.Lock()
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            with self._going:
                try:
                    self.publish()
                except Exception as error:
                    self.error = error
                    return

    def publish(self) -> None:
        """Publish the next release; returns when the pointer has moved."""
        number = self.published + 1
        words = {domain: voices[number % len(voices)] for domain, voices in self._voices.items()}
        with TemporaryDirectory() as drafts:
            folders = {
                domain: write_echo(Path(drafts) / domain, domain, voice, self._base, seed=number)
                for domain, voice in words.items()
            }
            release = publish_parts(self._store, Publication(adapters=folders))
        assert release.number == number
        for domain, entry in release.adapters.items():
            self.versions[entry.part.version] = Said(domain, number, words[domain].word)
        self.published = number

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is published within."""
        with self._going:
            yield

    def stop(self) -> None:
        """Publish no more."""
        self._stopping.set()
        self.join()
