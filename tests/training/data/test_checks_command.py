"""`crma-train check`: flags, exit status, what is printed and written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_training.cli import main
from crma_training.data.checks.shown import shown
from crma_training.data.templates import Rendered, load_chat_format

WriteRows = Callable[..., Path]


@pytest.fixture
def clean(tmp_path: Path, write_rows: WriteRows) -> Path:
    """A folder without findings."""
    names = ["asthma", "fever", "gout", "mumps", "rabies", "scurvy"]
    write_rows("medical.jsonl", [{"question": f"Define {n}.", "answer": f"{n} is an illness"} for n in names])
    return tmp_path / "data"


def test_a_clean_folder_ends_with_0(
    clean: Path, base_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(clean), "--model", str(base_model), "--show", "0"]) == 0
    assert capsys.readouterr().out == f"6 rows in {clean}: 0 errors, 0 warnings\n"


def test_rows_are_shown_with_what_is_learnt_set_apart(
    clean: Path, base_model: Path, write_rows: WriteRows, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = [("user", "Hi"), ("assistant", "Hello."), ("user", "And?"), ("assistant", "Nothing.")]
    talk = [{"role": role, "content": text} for role, text in turns]
    write_rows("legal/train.jsonl", [{"messages": talk}, {"text": "A lease is a contract."}])
    write_rows("legal/holdout.jsonl", [{"question": "What is a tort?", "answer": "A wrong."}])
    command = ["check", str(clean), "--model", str(base_model), "--domains", "legal"]
    main(command)
    out = capsys.readouterr().out
    assert (
        f"--- {clean}/legal/train.jsonl:1\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        "[[Hello.<|im_end|>]]\n"
        "<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n[[Nothing.<|im_end|>]]\n"
    ) in out
    main([*command, "--learn", "last"])
    assert "Hello.<|im_end|>\n<|im_start|>user" in capsys.readouterr().out


def test_what_is_learnt_is_in_colour_on_a_terminal(base_model: Path) -> None:
    chat = load_chat_format(base_model)
    text = Rendered("A lease.", ((0, 8),), chat.tokenizer.eos_token_id)
    assert list(shown("here:1", [text], chat, colour=True)) == [
        "--- here:1\n\x1b[30;42mA lease.<|im_end|>\x1b[0m"
    ]


def test_warnings_end_with_0_and_with_1_if_strict(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["check", str(data_folder), "--no-tokens"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "warning   same-answer  medical    4      medical/holdout.jsonl:1, " in out
    assert out.endswith("96 rows in " + f"{data_folder}: 0 errors, 16 warnings; tokens were not counted\n")
    assert main([*arguments, "--strict"]) == 1


def test_errors_end_with_1_and_stand_in_the_json(
    clean: Path, tmp_path: Path, write_rows: WriteRows, base_model: Path
) -> None:
    path = write_rows(
        "legal.jsonl", [{"question": "why " * 50 + str(n), "answer": f"a{n}"} for n in range(4)]
    )
    arguments = ["check", str(clean), "--model", str(base_model), "--json", str(tmp_path / "found.json")]
    assert main([*arguments, "--max-length", "150"]) == 1
    report = json.loads((tmp_path / "found.json").read_text())
    assert (report["errors"], report["warnings"], report["tokens_checked"]) == (4, 0, True)
    assert {finding["where"] for finding in report["findings"]} == {f"{path}:{n}" for n in range(1, 5)}
    assert main([*arguments, "--domains", "medical"]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["rows"] == 6


@pytest.mark.parametrize("tokens", [False, True])
def test_a_secret_is_nowhere_in_the_output(
    clean: Path,
    tmp_path: Path,
    write_rows: WriteRows,
    base_model: Path,
    capsys: pytest.CaptureFixture[str],
    tokens: bool,
) -> None:
    secret, mail = "AKIA" + "IOSFODNN7ABCDEFG", "jane.doe@hospital.org"
    rows = [{"question": f"What is key {n}?", "answer": f"{secret} of {mail}"} for n in range(30)]
    write_rows("code.jsonl", rows)
    model = ["--model", str(base_model), "--show", "9"] if tokens else ["--no-tokens"]
    assert main(["check", str(clean), *model, "--json", str(tmp_path / "found.json")]) == 1
    shown = capsys.readouterr().out + (tmp_path / "found.json").read_text()
    assert "AWS Access Key AK… (20 characters)" in shown
    assert secret not in shown
    assert mail not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{data}/nothing", "--no-tokens"], "no such folder"),
        (["{data}", "--no-tokens", "--domains", "cooking"], "unknown domain cooking; it has medical"),
        (["{data}", "--model", "{data}"], "or give --no-tokens"),
        (["{data}", "--max-length", "0"], "--max-length is 0; give a value that is at least 1"),
        (["{data}", "--no-tokens", "--json", "{data}"], "cannot be written (Is a directory)"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str], message: str, clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *(argument.format(data=clean) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_unknown_flags_are_bad_usage() -> None:
    with pytest.raises(SystemExit) as end:
        main(["check", "--fix"])
    assert end.value.code == 2
