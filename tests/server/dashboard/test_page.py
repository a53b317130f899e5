"""The page as people use it: in a real Chromium, with mouse and keyboard, against real routing."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from crma_server.releases.manager import Refusal

ADMIN_KEY, INFERENCE_KEY = "the-admin-key", "the-inference-key"


def ask(stand_in: Any, text: str, model: str = "auto", **headers: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
    return httpx.post(
        f"{stand_in.address}/v1/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {INFERENCE_KEY}"} | headers,
        timeout=10,
    )


def test_without_a_key_nothing_is_shown_and_the_keys_are_asked_for(page: Any, stand_in: Any) -> None:
    page.open(f"{stand_in.address}/crma")
    page.wait("document.getElementById('keys').open")
    assert page.focused() == "admin-key"
    assert page.count(".card") == 0
    assert "medical" not in page.evaluate("document.body.innerText")


def test_a_refused_key_is_said_to_be_and_forgotten(page: Any, stand_in: Any) -> None:
    page.open(f"{stand_in.address}/crma")
    page.wait("document.getElementById('keys').open")
    page.type("wrong")
    page.press("Enter")
    page.wait("document.getElementById('keys-reason').textContent.includes('admin key')")
    page.wait("document.getElementById('keys').open")
    assert page.text("#state-text") == "the key is refused"
    assert page.evaluate("sessionStorage.getItem('crma-admin-key')") is None


def test_keys_stay_in_the_tab(connected: Any, stand_in: Any) -> None:
    assert connected.evaluate("sessionStorage.getItem('crma-admin-key')") == ADMIN_KEY
    assert "key" not in connected.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    connected.open(f"{stand_in.address}/crma")  # a reload asks again for none
    connected.wait("document.querySelectorAll('.card').length === 4")
    assert not connected.evaluate("document.getElementById('keys').open")


def test_the_live_release_its_history_and_its_adapters_are_shown(connected: Any) -> None:
    assert connected.text("#state-text") == "release 12 live"
    facts = connected.text("#release-facts")
    assert "smollm2-135m" in facts and "a0afad0" in facts
    rows = connected.evaluate("[...document.querySelectorAll('#history-rows tr')].map(r => r.innerText)")
    assert len(rows) == 5
    assert "12" in rows[0] and "a canary for medical" in rows[0] and "live" in rows[0]
    assert "kept" in rows[1] and "kept" not in rows[3]
    card = connected.text(".card[aria-label=medical]")
    assert "a canary answers 20 % of its sessions" in card
    assert "2.61 → 1.94" in card and "MedQuAD" in card and "CC-BY-4.0" in card


def test_traffic_is_told_apart_by_version(connected: Any, stand_in: Any) -> None:
    for number in range(12):
        ask(stand_in, "is a fever bad?", **{"x-session-id": f"s-{number}"})
    versions = [each["model"].partition("@")[2][:12] for each in stand_in.asked]
    assert set(versions) == {"de91ac039f2f", "77aa01b2c3d4"}  # the canary got its share
    cells = "[...document.querySelectorAll('.card[aria-label=medical] tbody tr')].map(r => r.innerText)"
    total = f"{cells}.map(t => parseInt(t.split('\\t')[1])).reduce((a, b) => a + b)"
    connected.wait(f"{total} === 12")
    live, canary = connected.evaluate(cells)
    assert "live" in live and int(live.split("\t")[1]) == versions.count("de91ac039f2f")
    assert "canary" in canary and int(canary.split("\t")[1]) == versions.count("77aa01b2c3d4")


def test_decisions_come_in_as_they_happen(connected: Any, stand_in: Any) -> None:
    assert connected.count("#decision-rows tr") == 0
    ask(stand_in, "is a fever bad?")
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 1", timeout_s=5)
    ask(stand_in, "what a nice day", **{"x-request-id": "trace-me"})
    ask(stand_in, "anything", model="legal")
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 3", timeout_s=5)
    latest, fallback, routed = connected.evaluate(
        "[...document.querySelectorAll('#decision-rows tr')].map(row => row.innerText)"
    )
    assert "legal" in latest and "explicit" in latest
    assert "backbone" in fallback and "fallback" in fallback
    assert "medical" in routed and "routed" in routed and "0.9" in routed
    assert connected.text("#histogram-text").startswith("2 decisions")  # the explicit one has no confidence
    assert connected.count("#histogram rect.routed") == connected.count("#histogram rect.fallback") == 1


def test_a_decision_can_be_opened_with_the_keyboard(connected: Any, stand_in: Any) -> None:
    ask(stand_in, "what a nice day", **{"x-request-id": "trace-me"})
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 1")
    connected.evaluate("document.getElementById('pause').focus()")
    for _ in range(2):  # the scrolling region, then the row's button
        connected.press("Tab")
    assert "Details of decision 1" in connected.evaluate("document.activeElement.ariaLabel")
    connected.press("Enter")
    detail = connected.text("#decision-rows tr.detail")
    assert "trace-me" in detail and "1.80, up to 1.00 is inside: outside" in detail
    assert connected.count(".scores li") == 4
    assert "nice day" not in connected.evaluate("document.getElementById('decisions').innerText")
    assert "Details" in connected.evaluate("document.activeElement.ariaLabel"), "the focus stayed"
    ask(stand_in, "another nice day")  # rows that come in above leave it open and focused
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 3")
    assert "decision 1" in connected.evaluate("document.activeElement.ariaLabel")
    connected.press("Enter")
    assert connected.count("#decision-rows tr.detail") == 0


def test_pausing_holds_the_table_still(connected: Any, stand_in: Any) -> None:
    connected.click("#pause")
    for _ in range(3):
        ask(stand_in, "is a fever bad?")
    connected.wait("document.getElementById('pause').textContent === 'Go on (3 new)'")
    assert connected.count("#decision-rows tr") == 0
    connected.click("#pause")
    assert connected.count("#decision-rows tr") == 3
    assert connected.text("#pause") == "Pause"


def test_decisions_can_be_filtered(connected: Any, stand_in: Any) -> None:
    for text in ("is a fever bad?", "what a nice day", "the court is shut"):
        ask(stand_in, text)
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 3")
    connected.evaluate(
        "(() => { const f = document.getElementById('decision-filter'); f.value = 'fallback';"
        "f.dispatchEvent(new Event('change')); })()"
    )
    assert connected.count("#decision-rows tr") == 1
    assert "backbone" in connected.text("#decision-rows")


def test_no_more_decisions_are_kept_than_the_server_keeps(connected: Any, stand_in: Any) -> None:
    ask(stand_in, "is a fever bad?")
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 1")
    (decision,) = stand_in.decisions.after(0)

    async def burst() -> None:
        for number in range(2, 300):
            stand_in.decisions._count = number
            stand_in.decisions._ring.append(replace(decision, id=number))
        stand_in.decisions._news.set()

    stand_in.call(burst())
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 200")
    assert connected.text("#histogram-text").startswith("200 decisions")


def test_a_swap_is_seen_without_a_reload(connected: Any, stand_in: Any) -> None:
    stand_in.status = replace(stand_in.status, loading=13)
    connected.wait("document.getElementById('state-text').textContent === 'release 12 live, 13 loading'")
    stand_in.set_release(13, canary=False)
    connected.wait("document.getElementById('state-text').textContent === 'release 13 live'")
    connected.wait("!document.querySelector('.card[aria-label=medical]').innerText.includes('canary')")


def test_a_refused_release_is_shown_with_its_reason(connected: Any, stand_in: Any) -> None:
    refusal = Refusal(13, "IntegrityError", "adapters/legal: digest differs", "2026-01-06T10:00:00Z")
    stand_in.status = replace(stand_in.status, refusal=refusal)
    connected.wait("document.getElementById('state-text').textContent === 'release 12 live, 13 refused'")
    facts = connected.text("#release-facts")
    assert "IntegrityError" in facts and "adapters/legal: digest differs" in facts


def test_the_playground_answers_side_by_side(connected: Any, stand_in: Any) -> None:
    connected.wait("[...document.querySelectorAll('#model option')].some(o => o.value === 'medical')")
    assert connected.evaluate("document.getElementById('model').value") == "auto"
    connected.click("#prompt")
    connected.type("Is a fever bad?")
    connected.press("Enter")
    connected.wait("document.querySelectorAll('.stats').length === 2")
    connected.wait("[...document.querySelectorAll('.stats')].every(s => s.innerText.includes('tokens/s'))")
    on, off = (connected.text(f".side.{kind}") for kind in ("on", "off"))
    assert "A fever is a body temperature" in on and "A fever is a body temperature" in off
    assert "medical" in on and "with CRMA" in on and "routed" in on and "confidence 0.9" in on
    assert "medical" in off and "no CRMA" in off
    models = sorted(each["model"] for each in stand_in.asked)
    assert len(models) == 2
    assert models[0].startswith("medical@") and models[0].endswith("+a0afad0b46d1")
    assert models[1] == models[0].partition("+")[0] + ":crma-off", "both sides asked the same version"
    assert connected.focused() == "prompt"


def test_a_chat_goes_on_with_what_each_side_said(connected: Any, stand_in: Any) -> None:
    for text, turns in (("Is a fever bad?", 1), ("and in children?", 2)):
        connected.evaluate("document.getElementById('prompt').focus()")
        connected.type(text)
        connected.press("Enter")
        connected.wait(
            f"[...document.querySelectorAll('.stats')].filter(s => s.innerText.includes('tokens/s')).length"
            f" === {2 * turns}"
        )
    last = stand_in.asked[-1]
    assert [message["role"] for message in last["messages"]] == ["user", "assistant", "user"]
    assert last["messages"][1]["content"].startswith("A fever is")
    assert len({each["session"] for each in stand_in.asked}) == 1
    connected.click("#clear")
    assert connected.count(".said") == 0


def test_crma_can_be_turned_off_on_its_own(connected: Any, stand_in: Any) -> None:
    assert connected.evaluate("document.getElementById('crma-on').disabled")
    connected.click("#compare")
    connected.click("#crma-on")
    assert connected.count(".side") == 1
    connected.evaluate("document.getElementById('prompt').focus()")
    connected.type("Is a fever bad?")
    connected.press("Enter")
    connected.wait("document.querySelector('.stats')?.innerText.includes('tokens/s')")
    assert [each["model"].rpartition(":")[2] for each in stand_in.asked] == ["crma-off"]


def test_what_models_say_is_text(connected: Any) -> None:
    connected.evaluate("document.getElementById('prompt').focus()")
    connected.type("<img src=x onerror=alert(1)> hello")
    connected.press("Enter")
    connected.wait("[...document.querySelectorAll('.stats')].every(s => s.innerText.includes('tokens/s'))")
    assert "<b>This is text</b>" in connected.text(".side.on .words")
    assert "<img src=x" in connected.text(".side.on .said")
    assert connected.count(".side img") == connected.count(".side b") == 0
    assert connected.errors == []


def test_escape_stops_an_answer(connected: Any, stand_in: Any) -> None:
    stand_in.token_s = 0.2
    connected.evaluate("document.getElementById('prompt').focus()")
    connected.type("Is a fever bad?")
    connected.press("Enter")
    connected.wait("document.querySelector('.side.on .words')?.innerText.length > 3")
    connected.press("Escape")
    connected.wait("[...document.querySelectorAll('.stats')].every(s => s.innerText.startsWith('stopped'))")
    assert not connected.evaluate("document.getElementById('send').disabled")


def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(connected: Any, stand_in: Any) -> None:
    stand_in.break_off = True
    connected.evaluate("document.getElementById('prompt').focus()")
    connected.type("Is a fever bad?")
    connected.press("Enter")
    connected.wait("[...document.querySelectorAll('.stats.error')].length === 2")
    assert connected.text(".side.on .stats") == "the answer broke off"


def test_a_server_that_went_away_is_found_again(connected: Any, stand_in: Any) -> None:
    ask(stand_in, "is a fever bad?")
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 1")
    reset = "document.getElementById('stream-state').textContent"

    async def end_streams() -> None:
        for connection in list(stand_in._server.server_state.connections):
            connection.transport.abort()

    stand_in.call(end_streams())
    connected.wait(f"{reset}.startsWith('lost')")
    ask(stand_in, "is a fever bad?")
    connected.wait(f"{reset} === 'live'")
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 2")


def test_everything_can_be_reached_with_tab(connected: Any) -> None:
    connected.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        connected.press("Tab")
        reached.append(connected.focused())
        if reached[-1] == "send":
            break
    for wanted in (
        "theme",
        "open-keys",
        "decision-filter",
        "pause",
        "model",
        "max-tokens",
        "compare",
        "clear",
    ):
        assert wanted in reached, reached
    assert reached.index("theme") < reached.index("pause") < reached.index("prompt") < reached.index("send")
    connected.evaluate("document.getElementById('open-keys').focus()")
    connected.press("Enter")
    connected.wait("document.getElementById('keys').open")
    connected.press("Escape")
    assert not connected.evaluate("document.getElementById('keys').open")
    assert connected.focused() == "open-keys"


def test_colours_follow_the_system_unless_chosen(connected: Any, stand_in: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    connected.prefer("light")
    light = connected.evaluate(ground)
    connected.prefer("dark")
    dark = connected.evaluate(ground)
    assert light != dark
    connected.click("#theme")  # light, whatever the system says
    assert connected.evaluate(ground) == light
    connected.open(f"{stand_in.address}/crma")
    assert connected.evaluate(ground) == light, "the choice outlives a reload"
    connected.click("#theme")
    connected.prefer("light")
    assert connected.evaluate(ground) == dark
    connected.click("#theme")
    assert connected.evaluate(ground) == light


CONTRAST = """
(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (c) => { const v = c / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (element.closest(':disabled, svg, .hidden, .skip')) continue;
    const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = element.className || element.tagName;
    if (ratio < 4.5) poor.push(`${name}: ${walker.currentNode.data} ${ratio}`);
  }
  return poor;
})()
"""


def test_text_is_legible_in_both_themes(connected: Any, stand_in: Any) -> None:
    for text in ("is a fever bad?", "what a nice day", "the court", "a bond", "a loop"):
        ask(stand_in, text)
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 5")
    connected.click("#decision-rows button")
    for scheme in ("light", "dark"):
        connected.prefer(scheme)
        assert connected.evaluate(CONTRAST) == [], scheme  # WCAG 2.2, 1.4.3: 4.5 to 1


TOO_WIDE = """
[...document.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => `${e.tagName}.${e.className} ${e.id}`)
"""


def test_nothing_sticks_out_on_a_phone(connected: Any, stand_in: Any) -> None:
    for text in ("is a fever bad?", "what a nice day"):
        ask(stand_in, text)
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 2")
    for width in (390, 320):
        connected.resize(width, 844)
        connected.click("#decision-rows button")
        wide = connected.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} at {width}: {connected.evaluate(TOO_WIDE)}"


def test_every_control_has_a_name(connected: Any, stand_in: Any) -> None:
    ask(stand_in, "is a fever bad?")
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 1")
    tree = connected.command("Accessibility.getFullAXTree")["nodes"]
    roles = {
        "button",
        "textbox",
        "combobox",
        "checkbox",
        "spinbutton",
        "link",
        "image",
        "img",
        "log",
        "region",
    }
    nodes = [node for node in tree if not node.get("ignored") and node["role"]["value"] in roles]
    assert len(nodes) > 15
    assert [node["role"]["value"] for node in nodes if not node.get("name", {}).get("value")] == []


def test_the_page_asks_nobody_but_its_server_and_breaks_no_policy(connected: Any, stand_in: Any) -> None:
    ask(stand_in, "is a fever bad?")
    connected.wait("document.querySelectorAll('#decision-rows tr').length === 1")
    time.sleep(0.1)
    connected.evaluate("1")
    foreign = [
        url for url in connected.requested if not url.startswith((stand_in.address, "data:", "about:"))
    ]
    assert foreign == []
    assert connected.errors == []
    inline = (
        "(() => { const added = document.createElement('script'); added.textContent = '1';"
        "document.head.append(added); })()"
    )
    refused = connected.command("Runtime.evaluate", expression=inline)["exceptionDetails"]
    assert "TrustedScript" in refused["exception"]["description"]


def test_it_can_be_looked_at(connected: Any, stand_in: Any, tmp_path: Path) -> None:
    """Pictures in both themes and on a phone; CRMA_PICTURES names a folder to keep them in."""
    texts = ["is a fever bad?", "what a nice day", "the court is shut", "is a bond safe?", "a loop in C"]
    for number, text in enumerate(texts * 4):
        ask(stand_in, text + "!" * (number % 7), **{"x-session-id": f"s-{number}"})
    refusal = Refusal(11, "IntegrityError", "adapters/legal: digest differs", "2026-01-11T10:00:00Z")
    stand_in.status = replace(stand_in.status, refusal=refusal)
    connected.evaluate("document.getElementById('prompt').focus()")
    connected.type("Is a fever bad?")
    connected.press("Enter")
    connected.wait("document.querySelectorAll('.stats').length === 2")
    connected.wait("[...document.querySelectorAll('.stats')].every(s => s.innerText.includes('tokens/s'))")
    connected.wait("document.getElementById('release-facts').innerText.includes('IntegrityError')")
    connected.click("#decision-rows tr:nth-child(4) button")
    connected.evaluate("scrollTo(0, 0)")
    folder = Path(os.environ.get("CRMA_PICTURES", tmp_path))
    pictures = []
    for name, scheme, width in (("light", "light", 1280), ("dark", "dark", 1280), ("phone", "light", 390)):
        connected.prefer(scheme)
        connected.resize(width, 844)
        connected.picture(folder / f"dashboard-{name}.png")
        pictures.append((folder / f"dashboard-{name}.png").read_bytes())
    widths = [int.from_bytes(picture[16:20], "big") for picture in pictures]
    assert widths == [1280, 1280, 390]
    assert len(set(pictures)) == 3


def test_small_shares_keep_a_digit_whatever_their_sign(connected: Any) -> None:
    shown = "import('/crma/static/dom.js').then(dom => [-0.0016, 0.005, 0, -0.31, 0.9].map(dom.percent))"
    assert connected.evaluate(shown) == ["-0.2 %", "0.5 %", "0 %", "-31 %", "90 %"]


def test_the_map_shows_the_examples_and_where_the_last_decisions_fell(connected: Any, stand_in: Any) -> None:
    connected.wait("document.querySelectorAll('#map .example').length === 5")
    assert connected.count("#map .decided") == 0
    ask(stand_in, "is a fever bad?")
    connected.wait("document.querySelectorAll('#map .decided').length === 1")
    assert "medical" in connected.evaluate("document.querySelector('#map .decided title').textContent")
