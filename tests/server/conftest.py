"""A small store on the real base model, and a real `crma-serve` on it, shared by the tests that need one."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from crma_adapters.crma.backbone import save_backbone, save_mixer
from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.crma import Crma
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL, BaseModel, resolve_base_model
from crma_adapters.store.card import AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.store.release import AdapterEntry, Release
from crma_adapters.store.store import Store
from crma_router.policy import RoutingDecision
from crma_server.http.access import Access, Principal
from crma_server.http.request import RequestContext
from crma_server.http.response import ResponseRecorder
from crma_server.routing.catalog import Target
from crma_server.routing.selector import Choice

CRMA_SERVE = (sys.executable, "-c", "from crma_server.cli import main; raise SystemExit(main())")
HIDDEN, KEY_VALUE, LAYERS, RANK = 576, 192, 30, 4

QUESTIONS = {
    "medical": [
        "What are the symptoms of anemia?",
        "How is high blood pressure treated?",
        "What causes kidney stones?",
        "Which drugs help against migraine?",
        "How do doctors diagnose diabetes?",
        "What is the incubation period of measles?",
        "Can antibiotics cure a viral infection?",
        "What are the side effects of chemotherapy?",
        "How is a broken wrist treated?",
        "What does an elevated white blood cell count mean?",
        "Is asthma hereditary?",
        "What vaccines does an infant need?",
    ],
    "legal": [
        "What makes a contract legally binding?",
        "What is the statute of limitations for theft?",
        "Can my landlord evict me without notice?",
        "What is the difference between a felony and a misdemeanor?",
        "How do I contest a will in court?",
        "What rights do I have when arrested?",
        "What is a tort in common law?",
        "How is child custody decided after a divorce?",
        "Can I sue my employer for wrongful dismissal?",
        "What does a plaintiff have to prove in negligence?",
        "How long does copyright protection last?",
        "What is habeas corpus?",
    ],
}
SMALL_TALK = [
    "Hi, how are you today?",
    "Tell me a joke.",
    "What is your favourite colour?",
    "Good morning!",
    "Recommend a movie for tonight.",
    "Who won the football match?",
    "Write a poem about autumn.",
    "What should I cook for dinner?",
    "Thanks, see you tomorrow.",
    "How is the weather over there?",
    "Which band do you like best?",
    "I am bored, entertain me.",
]


@pytest.fixture(scope="session")
def crma_serve() -> tuple[str, ...]:
    """The command, as an argument list to add to."""
    return CRMA_SERVE


@pytest.fixture(scope="session")
def base_model() -> BaseModel:
    return resolve_base_model(DEFAULT_BASE_MODEL)


def write_lora(folder: Path, *, seed: int, rank: int = RANK, scale: float = 0.02) -> Path:
    """A random PEFT LoRA on the base model's attention, strong enough to change what it says."""
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(LAYERS):
        for module, width in (("q_proj", HIDDEN), ("v_proj", KEY_VALUE)):
            stem = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{stem}.lora_A.weight"] = scale * torch.randn(rank, HIDDEN, generator=draw)
            tensors[f"{stem}.lora_B.weight"] = scale * torch.randn(width, rank, generator=draw)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["q_proj", "v_proj"],
        "base_model_name_or_path": DEFAULT_BASE_MODEL,
        "bias": "none",
        "inference_mode": True,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    return folder


def write_adapter(folder: Path, *, name: str, base: BaseModel, backbone: str | None, seed: int) -> Path:
    """A random adapter with its card, as training writes one."""
    write_lora(folder, seed=seed)
    card = AdapterCard(
        name=name,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=backbone,
        rank=RANK,
        alpha=2.0 * RANK,
        target_modules=("q_proj", "v_proj"),
        data=CardData(1, 1, ("random",), ("none",)),
        training=CardTraining(1, 1.0, seed, 0.001, 1),
        holdout_loss=CardLoss(1.0, 1.0, 1.0),
    )
    (folder / "adapter.json").write_bytes(card.to_json())
    return folder


def write_mixer(
    folder: Path, *, name: str, base: BaseModel, backbone: str | None, layers: int = LAYERS, rank: int = 3
) -> Path:
    """An adapter that is a random mixer, with its card."""
    crma = _random_crma(layers, rank, seed=len(name))
    save_mixer(crma, folder, base_model=base.name, base_fingerprint=base.fingerprint)
    card = AdapterCard(
        name=name,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=backbone,
        rank=rank,
        alpha=float(rank),
        target_modules=("residual_mixer",),
        data=CardData(1, 1, ("random",), ("none",)),
        training=CardTraining(1, 1.0, 0, 0.001, 1),
        holdout_loss=CardLoss(1.0, 1.0, 1.0),
        kind="mixer",
        mixing_rank=rank,
    )
    (folder / "adapter.json").write_bytes(card.to_json())
    return folder


def write_backbone(folder: Path, base: BaseModel, *, seed: int = 7) -> Path:
    """A random CRMA, strong enough to change what the model says."""
    crma = _random_crma(LAYERS, 4, seed)
    save_backbone(crma, folder, base_model=base.name, base_fingerprint=base.fingerprint)
    return folder


def _random_crma(layers: int, rank: int, seed: int) -> Crma:
    draw = torch.Generator().manual_seed(seed)
    directions = [torch.linalg.qr(torch.randn(HIDDEN, rank, generator=draw))[0] for _ in range(layers)]
    return Crma(CrmaConfig(HIDDEN, layers, rank=rank, form=1, initial_alpha=0.1), directions)


def publish_small_store(root: Path, drafts: Path, base: BaseModel, router: Path | None) -> Release:
    """Two domains on one backbone, published as one release."""
    store = Store(root)
    backbone = store.add_backbone(write_backbone(drafts / "backbone", base))
    entries = {}
    for seed, name in enumerate(QUESTIONS, start=1):
        source = write_adapter(drafts / name, name=name, base=base, backbone=backbone.version, seed=seed)
        entries[name] = AdapterEntry(store.add_adapter(name, source), backbone.version, None)
    return store.publish(
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=backbone,
        adapters=entries,
        router=store.add_router(router) if router else None,
    )


@pytest.fixture(scope="session")
def small_router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router folder fitted on the questions above with the real embedder."""
    from crma_router.classifier.data import RouterData
    from crma_router.encoders.sentence_transformers import SentenceTransformerEmbedder
    from crma_router.roles.role_classifier import everything_asked
    from crma_router.router import fit_router

    folder = tmp_path_factory.mktemp("router") / "router"
    roles = everything_asked(384)  # to fit one takes a minute
    fit_router(RouterData(QUESTIONS, SMALL_TALK), SentenceTransformerEmbedder(), roles=roles).save(folder)
    return folder


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory, base_model: BaseModel, small_router: Path) -> Path:
    """A published store with two domains, a backbone and a router, and one plain PEFT folder dropped in."""
    root = tmp_path_factory.mktemp("small") / "store"
    publish_small_store(root, tmp_path_factory.mktemp("drafts"), base_model, small_router)
    write_lora(root / "pirate", seed=99)
    return root


@dataclass(frozen=True)
class Server:
    """A running `crma-serve`: its address and everything it has said."""

    address: str
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        return "".join(self.said)


def start_server(adapters: Path, cache: Path, *flags: str, ready_timeout_s: float = 600) -> Server:
    """Start `crma-serve` on a free port and wait until it says that it is ready."""
    port = free_port()
    process = subprocess.Popen(
        [*CRMA_SERVE, "--adapters", str(adapters), "--port", str(port), "--max-model-len", "1024", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"CRMA_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    server = Server(f"http://127.0.0.1:{port}", process)
    ready = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            server.said.append(line)
            if line.startswith("crma ready on "):
                ready.set()

    threading.Thread(target=listen, daemon=True).start()
    deadline_s = time.monotonic() + ready_timeout_s
    while not ready.wait(0.2):
        if process.poll() is not None or time.monotonic() > deadline_s:
            process.kill()
            raise AssertionError(f"crma-serve did not get ready (status {process.poll()}):\n{server.output}")
    return server


def stop_server(server: Server) -> None:
    server.process.terminate()
    try:
        server.process.wait(30)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory, base_model: BaseModel) -> Path:
    """A cache for the tests' own bundles that shares the converted base models."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "models").symlink_to(base_model.path.parent)
    return cache


@pytest.fixture(scope="session")
def server(small_store: Path, own_cache: Path) -> Iterator[Server]:
    """One server on the small store for all tests that need one."""
    running = start_server(small_store, own_cache)
    yield running
    stop_server(running)


@pytest.fixture(scope="session")
def serve(own_cache: Path) -> Iterator[Callable[..., Server]]:
    """Start further servers; they stop when the tests end."""
    running: list[Server] = []

    def start(adapters: Path, *flags: str) -> Server:
        running.append(start_server(adapters, own_cache, *flags))
        return running[-1]

    yield start
    for each in running:
        stop_server(each)


def make_routed(request_id: str = "r-1", **changes: Any) -> RequestContext:
    """A request for `auto` about a knee that has its choice; `changes` are of the choice."""
    scores = {"medical": 0.98765432, "legal": 0.01}
    fields: dict[str, Any] = {
        "target": Target("medical@de91ac039f2f+a0afad0b46d1", "medical", "de91ac039f2f", "a0afad0b46d1"),
        "path": "routed",
        "reason": "medical leads",
        "decision": RoutingDecision("medical", 0.98765432, "routed", "medical leads", scores, 0.51, 1.0),
        "release": 7,
        "session": "session",
        "known": True,
    }
    start_ns = 1_767_225_600_000_000_000  # 2026-01-01
    return RequestContext(
        method="POST",
        path="/v1/chat/completions",
        client="127.0.0.1",
        request_id=request_id,
        started=start_ns / 1e9,
        principal=Principal(Access.INFERENCE, "0a1b2c3d"),
        body=json.dumps({"messages": [{"role": "user", "content": "my left knee"}]}).encode(),
        asked="auto",
        choice=Choice(**(fields | changes)),
        routing_ns=(start_ns, start_ns + 4_000_000),
        response=ResponseRecorder(status=200, first_byte_s=0.05, sent_bytes=345, sent_all=True),
    )


@pytest.fixture
def routed() -> Callable[..., RequestContext]:
    return make_routed
