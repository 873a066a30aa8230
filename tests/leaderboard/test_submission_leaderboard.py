"""The leaderboard of submissions: its place, its own descriptions, and that strangers' texts are inert."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from plasticity_bench.figures import drawing as figures
from plasticity_bench.leaderboard import markdown as leaderboard_text
from plasticity_bench.leaderboard.markdown import code, inert
from plasticity_bench.page.rows import SubmissionDetails
from plasticity_bench.submissions.verify import verify
from plasticity_bench.submissions.writer import rescore
from tests.support.boards import board_of_submissions
from tests.support.plugins import GOOD
from tests.support.submission_bench import FOLDER, edit_json, submit, tree


def test_own_runs_do_not_overwrite_the_leaderboard_of_submissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for method in ("none", "l2"):
        submit(Path("leaderboard/submissions"), Path("runs"), method)
    monkeypatch.setattr(figures, "draw_functions", lambda scores: {})  # figures have their own tests
    assert main(["leaderboard", "--runs", "runs"]) == 2
    assert (
        "leaderboard is the leaderboard of its submissions; choose another --out" in capsys.readouterr().err
    )
    assert main(["leaderboard", "--runs", "runs", "--out", "mine"]) == 0
    assert "leaderboard --runs runs --out mine" in Path("mine/README.md").read_text()
    assert main(["leaderboard"]) == 0  # the submissions, into the folder that holds them
    text = Path("leaderboard/README.md").read_text()
    assert "leaderboard --submissions leaderboard/submissions --out leaderboard" in text
    assert f"submissions/l2/records/{FOLDER.replace('=', '%3D')}/l2-862e076f" in text
    # There is no leaderboard if a submission does not pass verification.
    (table,) = Path("leaderboard/submissions/l2").rglob("seed-000.csv")
    table.write_bytes(b"")
    before = tree(Path("leaderboard"))
    assert main(["leaderboard"]) == 1
    assert "seed-000.csv" in capsys.readouterr().err
    assert tree(Path("leaderboard")) == before


HOSTILE = (
    "<script>alert(1)</script>",
    "a | b | c",
    "`rm -rf`",
    "[x](javascript:alert(1))",
    "![x](https://example.org/x.png)",
    "<img src=x onerror=alert(1)>",
    "**bold** _it_ ~~gone~~ @someone $x$ {{ x }}",
    "https://example.org www.example.org",
    "&lt;b&gt; &#60;i&#62;",
    "[x][y] \\",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_strangers_is_inert(text: str) -> None:
    """In CommonMark a character reference is never markup, so a browser shows the text as written."""
    shown = inert(text)
    for markup in ("<", ">", "|", "`", "](", "][", "![", "**", "~~", "@", "$", "{{", "\\", "://", "www."):
        assert markup not in shown

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            raise AssertionError(tag)

        def handle_data(self, data: str) -> None:
            words.append(data)

    words: list[str] = []
    reader = Reader(convert_charrefs=True)
    reader.feed(shown)
    reader.close()
    assert "".join(words) == text


def test_markup_in_a_submission_is_shown_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "draw_functions", lambda scores: {})
    evil = "x <script>a</script> | `b` [x](javascript:a) ![i](https://e.org/i.png)"
    (tmp_path / "noise.py").write_text(
        GOOD.replace('"noise at every update"', repr(evil)).replace(
            "    strength", '    kind: str = "plain"\n    strength'
        )
    )
    method = f"{tmp_path}/noise.py:Noise:kind=<b>|`[x](y)"
    submit(tmp_path / "out", tmp_path / "runs", "none")
    submit(tmp_path / "out", tmp_path / "runs", method, name=evil, link="javascript:alert(1)")
    assert verify([tmp_path / "out"]).problems == []
    board_of_submissions(tmp_path / "out", tmp_path / "board")
    text = (tmp_path / "board" / "README.md").read_text()
    for markup in ("<script", "<b>", "](javascript", "![i]", "`b`"):
        assert markup not in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "noise" in line]
    assert len({row.count(" | ") for row in rows}) == 1
    assert "javascript:alert(1)" in text  # as words
    assert "[link](https://example.org/a)" in leaderboard_text._submitted(
        SubmissionDetails(link="https://example.org/a")
    )
    assert "[link]" not in leaderboard_text._submitted(SubmissionDetails(link="https://example.org/a)b"))
    assert code("l2:strength=0.5") == "`l2:strength=0.5`"
    assert "`" not in code("a`b")


def test_the_leaderboard_has_its_own_descriptions_of_built_ins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submission cannot change the description of a stream or a built-in method."""
    monkeypatch.setattr(figures, "draw_functions", lambda scores: {})
    submit(tmp_path / "out", tmp_path / "runs", "none")
    (config,) = (tmp_path / "out").rglob("config.json")
    edit_json(config, stream__summary="an easy stream", method__summary="the best method")
    rescore([tmp_path / "out" / "none"])
    assert verify([tmp_path / "out"]).problems == []
    board_of_submissions(tmp_path / "out", tmp_path / "board")
    text = (tmp_path / "board" / "README.md").read_text()
    assert "easy" not in text
    assert "best method" not in text
    assert "pixel permutations" in text
