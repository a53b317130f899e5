"""The HTML report: what it shows, that it loads nothing, that no text becomes markup."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from crma_adapters.store.card import CARD_FILE
from crma_training.cli import main
from crma_training.visibility.html_report import render, write_report
from crma_training.visibility.read import read_run

FinishedRun = Callable[..., Path]
HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"


class Page(HTMLParser):
    """A report taken apart: tags, every attribute, text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page(run: Path) -> Page:
    return Page(render(read_run(run)))


def test_every_domain_and_figure_is_on_the_page(finished_run: FinishedRun) -> None:
    found = page(finished_run("legal", "code", note="a note"))
    assert found.tags.count("svg") == found.tags.count("figure") == 4
    for title in ("Training loss", "Gradient norms", "Spectral log", "Holdout loss per domain"):
        assert title in found.text
    # In each table but two, over every figure and in the legend of one.
    assert all(found.texts.count(name) >= 3 + 4 + 1 for name in ("legal", "code"))
    assert "a note" in found.text
    assert "lora: ZClip scaled 2 of 12 steps" in found.text
    assert "alpha: ZClip scaled 0 of 12 steps" in found.text


def test_the_tables_have_the_figures_of_cards_drift_and_logs(finished_run: FinishedRun) -> None:
    found = page(finished_run("legal", "code", rank=16))
    assert "legal 4.0000 3.5000 2.0000 2.0250 +1.25% 4" in found.text
    assert "code 4.0000 3.5000 2.0000 2.0000 – 4" in found.text
    assert "legal 6 600 0 min 12 s 50 1.7% 1" in found.text
    assert "largest drift 1.25%" in found.text
    assert "legal 20 a source CC0" in found.text
    assert "torch 2.x" in found.text
    assert "rank 16 changed" in found.text
    assert "lora_alpha 8 lora_dropout" in found.text


def test_a_run_in_progress_shows_what_is_finished(finished_run: FinishedRun) -> None:
    found = page(finished_run("legal", planned=("code",)))
    assert "1 of 2 finished: legal" in found.text
    assert "legal 4.0000 3.5000 2.0000 – – 4" in found.text


def test_a_run_that_did_not_measure_shows_before_after_and_final(finished_run: FinishedRun) -> None:
    run = finished_run("legal", "code")
    for name in ("legal", "code"):
        (run / name / "holdout.jsonl").unlink()
        (run / name / "environment.json").unlink()
    found = page(run)
    assert "this run did not measure in between" in found.text
    assert "This run did not record them." in found.text


@pytest.mark.parametrize("pixels", [False, True])
def test_the_page_loads_nothing(
    finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch, pixels: bool
) -> None:
    if pixels:  # what a long run's lines become
        monkeypatch.setattr("crma_training.visibility.plots.MANY_POINTS", 5)
    html = render(read_run(finished_run("legal")))
    found = Page(html)
    assert not re.search(r"https?:|//[a-z]", re.sub(r"base64,[^\"]*", "", html))
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    loads = [value for name, value in found.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in loads)
    assert any(value.startswith("data:") for value in loads) == pixels
    assert all(value.startswith("#") for value in re.findall(r"url\(([^)]*)", html))
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in found.attributes


def test_names_that_do_not_fit_above_the_figures_become_numbers(finished_run: FinishedRun) -> None:
    names = [f"a-rather-long-name-{letter}" for letter in "abcdefg"]
    found = page(finished_run(*names))
    assert found.text.count("domains numbered as in the tables") == 4
    assert all(found.texts.count(name) == 3 + 1 for name in names)  # the tables and one legend
    assert all(found.texts.count(str(number)) >= 4 for number in range(1, 8))


def test_no_identifier_stands_for_two_things(finished_run: FinishedRun) -> None:
    found = page(finished_run("legal", "code"))
    identifiers = [value for name, value in found.attributes if name == "id"]
    used = [value[1:] for name, value in found.attributes if name == "xlink:href" and value.startswith("#")]
    assert len(identifiers) == len(set(identifiers))
    assert used
    assert set(used) <= set(identifiers)


def test_colours_follow_the_page(finished_run: FinishedRun) -> None:
    html = render(read_run(finished_run("legal")))
    assert "prefers-color-scheme: dark" in html
    assert "currentColor" in html
    assert "#010203" not in html
    assert not re.search(r"(fill|stroke): #(000000|ffffff)", html)


def test_hostile_text_stays_text(finished_run: FinishedRun) -> None:
    run = finished_run("legal", note=HOSTILE, model=HOSTILE)
    card = json.loads((run / "legal" / "adapter" / CARD_FILE).read_text())
    card["data"]["sources"] = card["data"]["licences"] = [HOSTILE]
    card["base_model"] = HOSTILE
    (run / "legal" / "adapter" / CARD_FILE).write_text(json.dumps(card))
    (run / "legal" / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    group = f"$x^2$ {HOSTILE}"
    lines = (run / "legal" / "metrics.jsonl").read_text().replace('"lora"', json.dumps(group))
    (run / "legal" / "metrics.jsonl").write_text(lines)
    readings = (run / "legal" / "holdout.jsonl").read_text().replace('"legal"', json.dumps(HOSTILE))
    (run / "legal" / "holdout.jsonl").write_text(readings)
    run = run.rename(run.with_name("<b>run"))
    html = render(read_run(run))
    found, harmless = Page(html), page_tags()
    assert set(found.tags) <= harmless
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.text.count(" ".join(HOSTILE.split())) >= 7
    assert "$x^2$" in found.text
    assert "CRMA run <b>run" in found.text


def page_tags() -> set[str]:
    """The tags of a report and of matplotlib's SVG."""
    html = "html head meta title style body header h1 h2 p dl dt dd main section figure figcaption div"
    return set(
        f"{html} table thead tbody tr th td svg defs g path use text tspan clippath rect image".split()
    )


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "is not a run folder of crma-train: it has no run.json"),
        (lambda run: (run / "run.json").write_text("{}"), r"run\.json cannot be read"),
        (lambda run: (run / "legal").rename(run / "other"), "no domain is finished yet"),
        (
            lambda run: (run / "run.json").write_text(
                (run / "run.json").read_text().replace('"legal"', '"../legal"')
            ),
            "domain name '../legal' cannot be used",
        ),
        (
            lambda run: (run / "legal" / "metrics.jsonl").write_text('{"domain": "legal"}\n'),
            r"legal/metrics\.jsonl:1: step: Field required",
        ),
        (lambda run: (run / "legal" / "metrics.jsonl").write_text("\n{"), r"metrics\.jsonl:1: the line: "),
    ],
)
def test_what_cannot_be_reported_is_one_line(
    finished_run: FinishedRun,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], object],
    message: str,
) -> None:
    run = finished_run("legal")
    harm(run)
    assert main(["report", str(run)]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(rf"error: .*{message}.*\n", error), error
    assert not (run / "report.html").exists()


def test_an_unreadable_run_leaves_the_report_it_had(finished_run: FinishedRun) -> None:
    run = finished_run("legal")
    before = write_report(run).read_bytes()
    (run / "legal" / "metrics.jsonl").write_text("nonsense")
    assert main(["report", str(run)]) == 2
    assert (run / "report.html").read_bytes() == before
    assert not list(run.glob(".tmp-*"))
