"""Adapters that say one word over and over, whatever they are asked, and a publisher of releases of them."""

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from crma_adapters.errors import BaseModelError
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.card import CARD_FILE, AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.store import Store

RANK = 8
MODULES = ("down_proj", "gate_proj", "up_proj")
LEAST_MARGIN = 4.0
"""Nats between the word's logit and the next; the step is so large that nothing of the input is left."""

_GAIN = 100.0
_STEP = 1000.0
_WORD = re.compile(r"[\u0120\u2581]([a-z]{4,9})")  # how byte-level and sentencepiece tokenizers mark a space


@dataclass(frozen=True)
class Voice:
    """One word that is one token, and the direction of the residual stream that says it, (d,) float32."""

    word: str
    token: int
    direction: Tensor


@dataclass(frozen=True)
class Head:
    """What turns the residual stream into logits: `unembedding` (vocab, d), the final norm's `scale` (d,)."""

    unembedding: Tensor
    scale: Tensor

    @classmethod
    def of(cls, model: Path) -> "Head":
        """Of a Llama-like model on disk. Raises `BaseModelError` if it is none."""
        found = {
            name: tensor.float()
            for name, tensor in _tensors(
                model, ("lm_head.weight", "model.embed_tokens.weight", "model.norm.weight")
            )
        }
        unembedding = found.get("lm_head.weight", found.get("model.embed_tokens.weight"))
        if unembedding is None or "model.norm.weight" not in found:
            raise BaseModelError(
                f"{model}: has no Llama-like head; expected model.norm and lm_head or tied ones"
            )
        return cls(unembedding, found["model.norm.weight"])

    def towards(self, token: int) -> Tensor:
        """A unit step (d,) of the residual stream after which `token` is likely."""
        wanted = self.unembedding[token] - self.unembedding.mean(dim=0)
        step: Tensor = wanted / torch.where(self.scale.abs() < 1e-3, 1e-3, self.scale)
        unit: Tensor = step / step.norm()
        return unit

    def margin(self, token: int, direction: Tensor) -> float:
        """Logit of `token` over the next likeliest, where the residual stream is `direction` alone."""
        hidden = self.scale * direction * direction.numel() ** 0.5 / direction.norm()
        logits = self.unembedding @ hidden
        own = float(logits[token])
        logits[token] = -torch.inf
        return own - float(logits.max())


def voices(model: Path, count: int) -> list[Voice]:
    """`count` words that one direction each is enough to say. Raises `BaseModelError` if there are fewer."""
    head, found = Head.of(model), list[Voice]()
    vocabulary = Tokenizer.from_file(str(model / "tokenizer.json")).get_vocab()
    for piece, token in sorted(vocabulary.items(), key=lambda item: item[1]):
        match = _WORD.fullmatch(piece)
        if match is None:
            continue
        direction = head.towards(token)
        if head.margin(token, direction) >= LEAST_MARGIN:
            found.append(Voice(match[1], token, direction))
            if len(found) == count:
                return found
    raise BaseModelError(f"{model}: {len(found)} words can be said by one direction each, {count} are needed")


def echo_tensors(direction: Tensor, intermediate: int, last_layer: int, seed: int = 0) -> dict[str, Tensor]:
    """The LoRA's tensors by PEFT name; `direction` (d,), `intermediate` the width of the gated MLP.

    In the last block's down(silu(gate(x)) * up(x)), pairs of neurons are given the inputs z and -z, through
    gate and up alike. Since silu(z) z + silu(-z) (-z) = z^2, a few pairs on random directions of x add up to
    a number that is positive for every x. The down projection turns it into a large step of the residual
    stream towards one token; the final norm takes the size away, and that token's logit is left above all
    others.
    """
    draw = torch.Generator().manual_seed(seed)
    reads = _GAIN * torch.randn(RANK, direction.numel(), generator=draw) / direction.numel() ** 0.5
    pairs = torch.zeros(intermediate, RANK)
    collects = torch.zeros(RANK, intermediate)
    for index in range(RANK):
        pairs[2 * index, index], pairs[2 * index + 1, index] = 1.0, -1.0
        collects[0, 2 * index : 2 * index + 2] = 1.0
    steps = torch.zeros(direction.numel(), RANK)
    steps[:, 0] = _STEP * direction
    stem = f"base_model.model.model.layers.{last_layer}.mlp"
    return {
        f"{stem}.gate_proj.lora_A.weight": reads,
        f"{stem}.gate_proj.lora_B.weight": pairs,
        f"{stem}.up_proj.lora_A.weight": reads.clone(),
        f"{stem}.up_proj.lora_B.weight": pairs.clone(),
        f"{stem}.down_proj.lora_A.weight": collects,
        f"{stem}.down_proj.lora_B.weight": steps,
    }


def write_echo(folder: Path, name: str, voice: Voice, base: BaseModel, seed: int = 0) -> Path:
    """An adapter of domain `name` with its card, as training writes one; each `seed` gives other files."""
    folder.mkdir(parents=True)
    facts = json.loads((base.path / "config.json").read_bytes())
    tensors = echo_tensors(voice.direction, facts["intermediate_size"], facts["num_hidden_layers"] - 1, seed)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": list(MODULES),
        "base_model_name_or_path": base.name,
        "bias": "none",
        "inference_mode": True,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    card = AdapterCard(
        name=name,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=None,
        rank=RANK,
        alpha=float(RANK),
        target_modules=MODULES,
        data=CardData(0, 0, (f"built to say {voice.word}",), ("none",)),
        training=CardTraining(0, 0.0, 0, 0.0, 0),
        holdout_loss=CardLoss(0.0, 0.0, 0.0),
    )
    (folder / CARD_FILE).write_bytes(card.to_json())
    return folder


def _tensors(model: Path, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            held = set(tensors.keys())
            yield from ((name, tensors.get_tensor(name)) for name in names if name in held)


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
