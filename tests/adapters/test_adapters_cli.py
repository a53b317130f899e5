"""`crma-adapters` as a user runs it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crma_adapters.cli.main import main
from crma_adapters.store.card import AdapterCard, CardStart, CardValidation
from crma_adapters.store.store import Store

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop

Output = pytest.CaptureFixture[str]


def run(store: Store, *arguments: str) -> int:
    return main(["--adapters", str(store.root), *arguments])


def backbone_of(store: Store) -> str:
    backbone = store.live().backbone
    assert backbone is not None
    return backbone.version


def version_of(store: Store, name: str) -> str:
    return store.live().adapters[name].part.version


def router_of(store: Store) -> str:
    router = store.live().router
    assert router is not None
    return router.version


def test_list_is_a_table(store: Store, workshop: "Workshop", capsys: Output) -> None:
    live = store.live()
    other = store.add_adapter("medical", workshop.adapter(seed=2, backbone=backbone_of(store)))
    workshop.adapter(rank=8).rename(store.root / "poetry")
    assert run(store, "list") == 0
    head, blank, titles, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith(
        f"release 1 of {live.created}: base model tiny-model, backbone {backbone_of(store)}"
    )
    assert blank == "" and titles.split() == [
        "DOMAIN",
        "VERSION",
        "KIND",
        "RANK",
        "SIZE",
        "BACKBONE",
        "STATE",
        "HOLDOUT",
        "LOSS",
        "DRIFT",
        "VALIDATION,",
        "OWN",
        "->",
        "NEWEST",
    ]
    cells = [row.split() for row in rows]
    assert [(row[0], *row[1:3]) for row in cells if row[0] == "*"] == [
        ("*", "legal", live.adapters["legal"].part.version),
        ("*", "medical", live.adapters["medical"].part.version),
        ("*", "poetry", "plain"),
    ]
    assert cells[2] == [
        "medical",
        other.version,
        "lora",
        "4",
        *cells[2][4:6],
        backbone_of(store),
        "-",
        "3.250",
        "->",
        "2.125",
        "-",
        "-",
    ]
    assert cells[1][3:8] == ["lora", "4", *cells[1][5:7], backbone_of(store)] and cells[1][8] == "pinned"
    assert cells[3][3:5] == ["lora", "8"]


def test_list_as_json(store: Store, capsys: Output) -> None:
    assert run(store, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["release"] == json.loads((store.root / "releases" / "0001.json").read_text())
    legal, medical = listed["adapters"]
    assert (legal["domain"], medical["domain"]) == ("legal", "medical")
    folder = store.adapter_dir("medical", medical["version"])
    assert medical == {
        "domain": "medical",
        "version": store.live().adapters["medical"].part.version,
        "backbone": backbone_of(store),
        "rank": 4,
        "size_bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "loss_base": 3.25,
        "loss_after": 2.125,
        "drift": None,
        "live": True,
        "canary_weight": None,
        "kind": "lora",
        "state": "pinned",
        "validation": None,
    }


def test_list_of_plain_adapters_alone(workshop: "Workshop", tmp_path: Path, capsys: Output) -> None:
    store = Store(tmp_path / "store")
    store.root.mkdir()
    workshop.adapter().rename(store.root / "poetry")
    assert run(store, "list") == 0
    assert "no release, plain adapters alone" in capsys.readouterr().out
    assert run(store, "verify") == 0
    assert capsys.readouterr().out == "ok  plain adapter poetry\n"
    assert run(store, "show", "poetry") == 0
    assert "a plain PEFT LoRA without a card" in capsys.readouterr().out


def test_show(store: Store, workshop: "Workshop", capsys: Output) -> None:
    version = store.live().adapters["medical"].part.version
    other = store.add_adapter("medical", workshop.adapter(seed=2)).version
    assert run(store, "show", "medical") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"medical@{version}, ") and ", live, in " in text
    for expected in (
        "rank 4, alpha 8, on q_proj",
        "90 rows to train, 10 held out",
        "wiki-é",
        "MIT",
        "12 steps",
    ):
        assert expected in text
    assert "base 3.250, before 3.000, after 2.125" in text
    assert run(store, "show", f"medical@{other}", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["version"], shown["live"], shown["drift"]) == (other, False, None)
    assert shown["card"]["training"]["tokens"] == 345


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cooking", "cooking: not live and not in the store .*; expected one of: legal, medical"),
        ("medical@000000000000", "medical@000000000000: not live .*; expected one of: medical@[0-9a-f]{12}$"),
        ("medical@../../x", "medical@../../x: not live"),
        ("medical@", "medical@: not live"),
        ("../medical", "not live"),
    ],
)
def test_show_of_what_is_not_there(store: Store, capsys: Output, name: str, told: str) -> None:
    assert run(store, "show", name) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(told, error.strip())


def test_verify(store: Store, capsys: Output) -> None:
    assert run(store, "verify") == 0
    assert capsys.readouterr().out.startswith("ok  release 1: legal@")
    assert run(store, "verify", "--max-rank", "2") == 2
    assert "rank 4, the engine takes at most 2" in capsys.readouterr().err
    (store.adapter_dir("legal", store.live().adapters["legal"].part.version) / "x.pkl").write_bytes(b"")
    assert run(store, "verify", "1") == 2
    assert "x.pkl: is a pickle by its name" in capsys.readouterr().err


def test_verify_of_a_store_that_is_not_there(tmp_path: Path, capsys: Output) -> None:
    for command in ("list", "verify"):
        assert main([command, "--adapters", str(tmp_path / "absent")]) == 2
        assert capsys.readouterr().err.startswith(
            f"error: store {tmp_path}/absent is not a folder; make one with"
        )
    assert main(["list", "--adapters", str(tmp_path)]) == 2
    assert "has no release.json; make one with `crma-train" in capsys.readouterr().err


def test_publish_and_rollback(store: Store, workshop: "Workshop", capsys: Output) -> None:
    folder = workshop.adapter("code", backbone=backbone_of(store))
    router = workshop.router("code", "legal", "medical")
    assert (
        run(store, "publish", "--adapter", f"code={folder}", "--router", str(router), "--note", "code too")
        == 0
    )
    assert capsys.readouterr().out.startswith("live: release 2: code@")
    assert sorted(store.live().adapters) == ["code", "legal", "medical"] and store.live().note == "code too"
    assert run(store, "rollback") == 0
    assert capsys.readouterr().out.endswith("(rollback to release 1)\n")
    assert sorted(store.live().adapters) == ["legal", "medical"] and store.live().number == 3
    assert run(store, "rollback", "2") == 0
    assert "code" in store.live().adapters


def test_canary_promote_and_drop(store: Store, workshop: "Workshop", capsys: Output) -> None:
    live, folder = version_of(store, "medical"), workshop.adapter(seed=2, backbone=backbone_of(store))
    assert run(store, "canary", f"medical={folder}", "--weight", "0.125") == 0
    out = capsys.readouterr().out
    found = re.fullmatch(
        rf"live: release 2: legal@.{{12}}, medical@{live} \(canary (.{{12}}) 12\.5%\); backbone .*\n", out
    )
    assert found, out
    tried = found[1]
    assert run(store, "list") == 0
    head, _, _, *rows = capsys.readouterr().out.splitlines()
    assert head.endswith("(* is live, a share a canary's)")
    assert [row.split()[:3] for row in rows[1:]] == [["*", "medical", live], ["12.5%", "medical", tried]]
    assert run(store, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["adapters"]
    assert [(row["live"], row["canary_weight"]) for row in listed] == [
        (True, None),
        (True, None),
        (False, 0.125),
    ]
    assert run(store, "show", f"medical@{tried}") == 0
    assert "canary for 12.5% of its domain's sessions, in" in capsys.readouterr().out
    assert run(store, "show", f"medical@{tried}", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["live"], shown["canary_weight"]) == (False, 0.125)
    assert run(store, "canary", "medical", "--weight", "0.5") == 0
    assert run(store, "drop", "medical") == 0
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .endswith(f"router {router_of(store)} (canary medical@{tried} dropped)")
    )
    assert run(store, "canary", f"medical@{tried}", "--weight", "0.9") == 0
    assert run(store, "promote", "medical") == 0
    assert version_of(store, "medical") == tried and store.live().number == 6


def test_a_refused_canary_changes_nothing(store: Store, workshop: "Workshop", capsys: Output) -> None:
    before = sorted(store.root.rglob("*"))
    for wanted, told in [
        (f"code={workshop.adapter('code')}", "code: no such adapter in release 1; expected one of: legal, m"),
        ("medical", "medical has no canary in release 1; domains with one: none"),
        ("medical@000000000000", "medical@000000000000: not in the store"),
        (f"medical@{version_of(store, 'medical')}", "is live already"),
        (f"medical={workshop.root / 'absent'}", "absent: is missing"),
    ]:
        assert run(store, "canary", wanted, "--weight", "0.1") == 2
        assert told in capsys.readouterr().err
    for command in ("promote", "drop"):
        assert run(store, command, "legal") == 2
        assert "legal has no canary" in capsys.readouterr().err
    assert {path for path in store.root.rglob("*") if path.name != ".lock"} == {
        path for path in before if path.name != ".lock"
    }


def test_diff(store: Store, workshop: "Workshop", capsys: Output) -> None:
    old = version_of(store, "medical")
    folder = workshop.adapter(seed=2, backbone=backbone_of(store))
    assert run(store, "publish", "--adapter", f"medical={folder}") == 0
    new = version_of(store, "medical")
    assert run(store, "rollback") == 0
    capsys.readouterr()
    assert run(store, "diff", "1", "2") == 0
    head, change = capsys.readouterr().out.splitlines()
    assert head.startswith("release 1 of ") and change == f"medical  version  {old} -> {new}"
    assert run(store, "diff", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "before": 2,
        "after": 3,
        "changes": [{"what": "medical", "fact": "version", "before": new, "after": old}],
    }
    assert run(store, "diff", "1") == 0
    assert capsys.readouterr().out.endswith("the same content\n")
    assert run(store, "diff", "1", "9") == 2
    assert "has no release 9; expected one of: 1, 2, 3" in capsys.readouterr().err


def test_gc(store: Store, workshop: "Workshop", capsys: Output) -> None:
    folder = store.adapter_dir("medical", version_of(store, "medical"))
    for seed in (2, 3):
        source = workshop.adapter(seed=seed, backbone=backbone_of(store))
        assert run(store, "publish", "--adapter", f"medical={source}") == 0
    capsys.readouterr()
    assert run(store, "gc") == 0
    assert capsys.readouterr().out == "freed 0.0 kB; every part of releases 1 to 3 is kept\n"
    assert run(store, "gc", "--keep", "2", "--dry-run") == 0
    told = capsys.readouterr().out
    assert re.fullmatch(
        rf"would remove  {folder}  1\.\d kB\nwould free 1\.\d kB; every part of releases 2 to 3 is kept\n",
        told,
    )
    assert folder.is_dir()
    assert run(store, "gc", "--keep", "2") == 0
    assert capsys.readouterr().out == told.replace("would remove", "removed").replace("would free", "freed")
    assert not folder.exists()
    assert run(store, "rollback", "1") == 2
    assert "removed by `crma-adapters gc` or lost" in capsys.readouterr().err


def test_publish_a_backbone_with_measured_drift(store: Store, workshop: "Workshop", capsys: Output) -> None:
    backbone = str(workshop.backbone(seed=2))
    assert (
        run(store, "publish", "--backbone", backbone, "--drift", "legal=0.01", "--drift", "medical=-0.5e-2")
        == 0
    )
    assert store.live().adapters["medical"].drift == -0.005
    capsys.readouterr()
    assert run(store, "list") == 0
    assert "+1.00%" in capsys.readouterr().out
    assert run(store, "show", "medical") == 0
    assert "drift         -0.50% under the backbone it runs on" in capsys.readouterr().out


def test_refresh_and_back(store: Store, workshop: "Workshop", tmp_path: Path, capsys: Output) -> None:
    own = backbone_of(store)
    assert run(store, "publish", "--backbone", str(workshop.backbone(seed=2))) == 0
    newest = backbone_of(store)
    losses = {
        name: {"version": version_of(store, name), "own": [2.0, 3.0, 2.5], "newest": values}
        for name, values in (("legal", [2.6, 3.0, 3.0]), ("medical", [1.5, 2.5, 2.0]))
    }
    path = tmp_path / "losses.json"
    path.write_text(json.dumps({"format": 1, "backbone": newest, "adapters": losses}))
    capsys.readouterr()
    assert run(store, "refresh", "--losses", str(path)) == 0
    legal, medical, live = capsys.readouterr().out.splitlines()
    assert legal == f"legal: 2.500 -> 2.867 (±0.186) nats on 3 rows: stays on {own}, not on {newest}"
    assert medical == f"medical: 2.500 -> 2.000 (±0.000) nats on 3 rows: runs on {newest}"
    assert live.startswith("live: release 3: ")
    assert f"refreshed to backbone {newest}: medical; not legal" in live
    assert run(store, "list") == 0
    table = capsys.readouterr().out
    assert re.search(rf"legal .* {own}  pinned .* 2\.500 -> 2\.867 \(±0\.186\)", table)
    assert re.search(rf"medical .* {newest}  refreshed .* 2\.500 -> 2\.000 \(±0\.000\)", table)
    assert run(store, "show", "medical") == 0
    told = capsys.readouterr().out
    assert f"runs on       backbone {newest}, refreshed" in told
    assert f"2.500 -> 2.000 (±0.000) nats of 3 validation rows under its own backbone and {newest}" in told
    assert run(store, "show", "legal", "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs_on"]["state"] == "pinned"
    assert run(store, "diff", "2") == 0
    difference = capsys.readouterr().out
    assert re.search(rf"medical +runs on backbone +{own} -> {newest}", difference)
    assert re.search(r"medical +state +pinned -> refreshed", difference)
    assert re.search(r"legal +validation loss, newest +- -> 2\.867", difference)
    assert run(store, "refresh", "medical", "--pin") == 0
    assert store.live().state_of(store.live().adapters["medical"]) == "pinned"
    assert run(store, "refresh", "--pin") == 2
    assert "no domain given" in capsys.readouterr().err
    assert run(store, "refresh", "code", "--losses", str(path)) == 2
    assert "has no losses of code; it has legal, medical" in capsys.readouterr().err
    assert store.live().number == 4


def test_show_a_mixer(store: Store, workshop: "Workshop", capsys: Output) -> None:
    folder = workshop.mixer(lora=True, backbone=backbone_of(store))
    card = replace(
        AdapterCard.from_json((folder / "adapter.json").read_bytes()),
        validation_loss=CardValidation(2.25, 0.05, 60),
        start=CardStart("mean", ("legal@0123456789ab", "code@0123456789ab")),
        parameters=553_000,
    )
    (folder / "adapter.json").write_bytes(card.to_json())
    assert run(store, "publish", "--adapter", f"medical={folder}") == 0
    capsys.readouterr()
    assert run(store, "show", "medical") == 0
    told = capsys.readouterr().out
    for line in (
        "LoRA          rank 4, alpha 8, on q_proj",
        "mixer         rank 2, on the residual stream of every block",
        "parameters    553,000 of its own",
        "start         mean legal@0123456789ab code@0123456789ab",
        "validation    2.250 ± 0.050 nats on 60 rows",
    ):
        assert line in told
    assert run(store, "list") == 0
    assert re.search(r"\* +medical +\w+ +both +4 ", capsys.readouterr().out)


def test_a_refused_publication_changes_nothing(store: Store, workshop: "Workshop", capsys: Output) -> None:
    live, folder = store.live(), workshop.adapter(fingerprint="cd" * 32, backbone=backbone_of(store))
    assert run(store, "publish", "--adapter", f"medical={folder}") == 2
    assert "the release is for tiny-model" in capsys.readouterr().err
    shutil.rmtree(folder)
    assert run(store, "publish", "--adapter", f"medical={folder}") == 2
    assert "is missing" in capsys.readouterr().err
    assert run(store, "publish", "--adapter", f"a={folder}", "--adapter", f"a={folder}") == 2
    assert "a name stands twice" in capsys.readouterr().err
    assert run(store, "rollback") == 2
    assert "there is none before it" in capsys.readouterr().err
    assert store.live() == live


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["lists"],
        ["list", "--unknown"],
        ["list", "--adapter", "folder"],
        ["publish", "--adapter", "medical"],
        ["publish", "--adapter", "=folder"],
        ["publish", "--drift", "medical=much"],
        ["publish", "--drift", "medical=nan"],
        ["rollback", "0"],
        ["rollback", "latest"],
        ["verify", "--max-rank", "-1"],
        ["canary", "medical"],
        ["canary", "medical", "--weight", "1"],
        ["canary", "medical@", "--weight", "0.5"],
        ["canary", "medical", "--weight", "0.5", "--drift", "nan"],
        ["refresh"],
        ["refresh", "medical"],
        ["refresh", "medical", "--pin", "--losses", "losses.json"],
        ["promote"],
        ["drop", "medical", "legal"],
        ["diff"],
        ["diff", "1", "live"],
        ["gc", "--keep", "0"],
    ],
)
def test_a_wrong_command_line_is_status_two(arguments: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: crma-adapters" in capsys.readouterr().err


COMMANDS = [
    *("list", "show", "verify", "diff", "publish", "rollback"),
    *("canary", "promote", "drop", "refresh", "gc", "import", "merge"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does(command: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "--adapters DIR|URL" in out and "(default: ./adapters)" in " ".join(out.split())
