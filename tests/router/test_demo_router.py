"""What people were seen to send and routers to get wrong, asked of the demo release's router."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from crma_adapters.store.store import Store
from crma_router.cli.main import main
from crma_router.conversation.messages import read_conversation
from crma_router.conversation.sessions import SessionKey, Sessions
from crma_router.conversation.state import open_dialogue
from crma_router.policy import RoutingDecision
from crma_router.router import Router

DEMO = Path(__file__).resolve().parents[2] / "adapters"


@pytest.fixture(scope="module")
def demo() -> Router:
    part = Store(DEMO).live().router
    assert part is not None
    return Router.load(Store(DEMO).router_dir(part.version))


def decided(router: Router, *turns: str, system: str = "") -> RoutingDecision:
    """For the last of a user's turns."""
    messages = [{"role": "system", "content": system}] if system else []
    for turn in turns:
        messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": "I see."}]
    conversation = read_conversation(messages[:-1])
    opened = open_dialogue(Sessions(), SessionKey.of("opening", conversation.opening), conversation)
    texts = opened.dialogue.texts()
    return opened.dialogue.decide(dict(zip(texts, router.route_many(texts), strict=True)), router.policy)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("how to stop taking sertraline 100 mg", "medical"),
        ("What is a hernia?", "medical"),
        ("what is habeas corpus", "legal"),
        ("What is a tort?", "legal"),
        ("exchange raises margin for futures, what happens on Monday", "financial"),
        ("What is a hedge fund?", "financial"),
        ("what is a docker image", "code"),
        ("sort a dict by value", "code"),
        ("What is a neutrino?", "science"),
        ("plate tectonics", "science"),
        ("survival game with good base building?", None),
        ("what is a haiku", None),
    ],
)
def test_short_questions_and_keywords(demo: Router, text: str, domain: str | None) -> None:
    assert decided(demo, text).domain == domain


@pytest.mark.parametrize("text", ["What is a statin?", "What is a qubit?", "What does hypothermia mean?"])
def test_a_short_question_of_a_rare_word_goes_to_no_wrong_adapter_surely(demo: Router, text: str) -> None:
    decision = decided(demo, text)
    assert decision.domain in (None, "medical", "science") and decision.domain != "code"


@pytest.mark.parametrize(
    "text",
    ["How do I read a file in Python?", "How do I fix a null pointer exception?", "What is a table in SQL?"],
)
def test_a_sure_decision_wins_in_a_conversation(demo: Router, text: str) -> None:
    decision = decided(demo, "What helps against migraine?", text)
    assert (decision.domain, decision.path) == ("code", "routed")


def test_a_follow_up_stays(demo: Router) -> None:
    for text in ("Explain more.", "Why?", "Erkläre das genauer.", "¿Por qué?", "再详细说说。"):
        decision = decided(demo, "What helps against migraine?", text)
        assert (decision.domain, decision.path) == ("medical", "sticky"), text


RETRIEVAL = """Use the passages to answer. Cite them as [1]. If they do not help, say so.

<passages>
<passage id="1">Call the function with two arguments; it returns a list and raises an error on None.</passage>
</passages>

<user_question>{}</user_question>"""
FORMAT = """{}

Reply with a JSON object that matches this schema and with nothing else:
```json
{{"type": "object", "properties": {{"reply": {{"type": "string"}}}}}}
```"""
EXAMPLES = "Q: How many legs has a spider?\nA: Eight.\n\nQ: Who wrote Faust?\nA: Goethe.\n\nQ: {}\nA:"
MAIL = """Subject: Fwd: question from a visitor

Hi Jo, can you take this? Thanks!

> Hello,
> {}
> Best wishes, Robin"""
WRAPPED = {"retrieval": RETRIEVAL, "format": FORMAT, "examples": EXAMPLES, "mail": MAIL}
ASKED = (
    ("Can my landlord keep the deposit when I move out?", "legal"),
    ("Why does my chest hurt when I breathe in deeply?", "medical"),
    ("How are dividends taxed in a brokerage account?", "financial"),
    ("Why do planets move in ellipses around the sun?", "science"),
    ("Which bakery in Vienna has the best bread?", None),
)


@pytest.mark.parametrize("shape", WRAPPED)
@pytest.mark.parametrize(("text", "domain"), ASKED)
def test_what_is_asked_inside_a_template_decides(
    demo: Router, shape: str, text: str, domain: str | None
) -> None:
    assert decided(demo, WRAPPED[shape].format(text)).domain == domain


@pytest.mark.parametrize("text", ["Reply with JSON only.", "You are a helpful assistant. Answer briefly."])
def test_an_instruction_about_form_makes_no_domain(demo: Router, text: str) -> None:
    assert decided(demo, text).domain is None


def test_the_system_prompt_says_which_of_several_meanings_a_short_turn_has(demo: Router) -> None:
    system = "You are a medical assistant for doctors."
    assert decided(demo, "What does PE mean?", system=system).domain == "medical"
    assert decided(demo, "How do I sort a list in Python?", system=system).domain == "code"


def test_a_language_that_the_encoder_was_not_trained_on_falls_back_with_that_cause(demo: Router) -> None:
    assert {"en", "de", "fr", "es", "zh"} <= set(demo.model.languages)
    text = "Kuinka tuloverotus lasketaan, kun osakkeiden myynnistä on saatu voittoa samana vuonna?"
    decision = decided(demo, text)
    assert decision.domain is None and decision.cause in ("language", "out of domain", "unsure")


def test_spelling_is_off_unless_asked_for(demo: Router) -> None:
    assert demo.model.spelling is False
    for text in ("what is a vlan trunk port?", "does the tokio runtime need threads?"):
        assert demo.route(text).asked == text


GARDEN = (
    "When should I prune roses?",
    "How deep do I plant tulip bulbs?",
    "Why are my tomato leaves turning yellow?",
    "How often should I water a lawn in summer?",
    "What grows well in shade?",
    "How do I make compost at home?",
    "Which herbs survive the winter outside?",
    "How do I get rid of slugs in the vegetable bed?",
    "When do I sow carrots?",
    "What soil do blueberries need?",
    "How far apart should I plant lettuce?",
    "Why does my lavender die every winter?",
    "How do I grow potatoes in a bag?",
    "Can I plant mint next to basil?",
    "How do I repot an orchid?",
    "What is the best mulch for strawberries?",
    "When do I cut back hydrangeas?",
    "How do I take cuttings from a geranium?",
    "Why won't my wisteria bloom?",
    "How do I raise seedlings indoors?",
    "Which hedge grows fastest?",
    "How do I stop weeds between paving stones?",
    "When is the time to plant garlic?",
    "How much sun does a fig tree need?",
    "What can I plant after beans?",
    "How do I keep aphids off my peppers?",
)


def test_a_domain_is_added_from_26_questions_in_twenty_seconds_of_processor_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "adapters"
    shutil.copytree(DEMO, root, ignore=shutil.ignore_patterns("crma_adapters", "__pycache__"))
    plain = root / "garden"
    plain.mkdir()
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{module}.lora_A.weight": (2, 576), f"{module}.lora_B.weight": (576, 2)}
    save_file(
        {name: np.ones(shape, np.float32) for name, shape in tensors.items()},
        plain / "adapter_model.safetensors",
    )
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"], "bias": "none"}
    (plain / "adapter_config.json").write_text(json.dumps(config))
    # A byte order mark, a line separator inside a string, and rows of three forms.
    rows: list[dict[str, object]] = [{"question": text} for text in GARDEN[:20]]
    rows.append({"text": f"{GARDEN[20]}\u2028"})
    rows += [{"messages": [{"role": "user", "content": text}]} for text in GARDEN[21:]]
    path = tmp_path / "garden.jsonl"
    path.write_text("\ufeff" + "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")

    began_s = time.process_time()
    assert main(["add", "--adapters", str(root), "--json", "garden", str(path)]) == 0
    assert time.process_time() - began_s <= 20
    told = json.loads(capsys.readouterr().out)
    assert told["release"] is not None and told["routed"]["garden"] >= 0.8

    assert main(["--adapters", str(root), "--json", "--nearest", "0", "How do I prune an apple tree?"]) == 0
    assert json.loads(capsys.readouterr().out)["domain"] == "garden"
