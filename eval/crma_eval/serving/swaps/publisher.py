"""One release after the other into a store that is being served, each timed to its first answer.

Owns: the store's side of a run, and how it is told that a release answers. Knows nothing of other clients.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.store import Store
from crma_eval.serving.echo import Voice, write_echo
from crma_eval.serving.swaps.streams import DOMAIN, PROMPTS
from crma_eval.serving.swaps.timeline import Published, Timeline

LOOK_EVERY_S = 0.02
GIVE_UP_S = 120.0


@dataclass(frozen=True)
class Publisher:
    """Publishes adapters that say a word each."""

    store: Store
    base: BaseModel
    timeline: Timeline

    def publish(self, voice: Voice) -> Published:
        """Publish the adapter that says `voice`; returns when the pointer has moved."""
        with TemporaryDirectory() as drafts:
            folder = write_echo(Path(drafts) / "adapter", DOMAIN, voice, self.base)
            number = len(self.timeline.releases) + 1
            entry = Published(number, "", voice.word, time.monotonic())
            self.timeline.begin(entry)
            release = publish_parts(self.store, Publication(adapters={DOMAIN: folder}))
        entry.published_s = time.monotonic()
        assert release.number == number
        entry.version = release.adapters[DOMAIN].part.version
        return entry

    async def swap(self, client: httpx.AsyncClient, voice: Voice) -> bool:
        """Publish and wait for the first answer; False if none came within `GIVE_UP_S`."""
        entry = await asyncio.to_thread(self.publish, voice)
        while time.monotonic() - entry.begun_s < GIVE_UP_S:
            if entry.version in await live_root(client) and await _answers(client, entry.version):
                entry.live_s = time.monotonic()
                return True
            await asyncio.sleep(LOOK_EVERY_S)
        return False


async def live_root(client: httpx.AsyncClient) -> str:
    """The exact name that the domain stands for now."""
    listed = (await client.get("/v1/models?names=all")).raise_for_status().json()["data"]
    return str(next(model["root"] for model in listed if model["id"] == DOMAIN))


async def exact_names(client: httpx.AsyncClient) -> list[str]:
    """Every exact name of the domain that the server answers to."""
    listed = (await client.get("/v1/models?names=all")).raise_for_status().json()["data"]
    return sorted({model["id"] for model in listed if model["id"].startswith(f"{DOMAIN}@")})


async def _answers(client: httpx.AsyncClient, version: str) -> bool:
    body = {
        "model": DOMAIN,
        "messages": [{"role": "user", "content": PROMPTS[0]}],
        "max_tokens": 1,
        "temperature": 0,
    }
    reply = (await client.post("/v1/chat/completions", json=body)).raise_for_status()
    return bool(reply.headers["x-crma-version"] == version)
