"""Ways to damage a submission of l2, and the words with which verification reports each."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.storage.files import sha256
from tests.support.submission_bench import FOLDER, edit_json, edit_table

#: Changes the submission in a folder.
Damage = Callable[[Path], object]


def cell(submission: Path) -> Path:
    """The only cell's folder."""
    (found,) = submission.glob("records/*/*")
    return found


def edit(name: str, /, **changes: object) -> Damage:
    def damage(folder: Path) -> None:
        path = cell(folder) / name if name.startswith(("config", "seed", "fresh")) else folder / name
        edit_json(path, **changes)

    return damage


def change(column: str, value: str, task: int = 1, kind: str = "seed") -> Damage:
    def damage(folder: Path) -> None:
        table = cell(folder) / f"{kind}-001.csv"
        lines = table.read_text().splitlines()
        fields = lines[task + 1].split(",")
        fields[lines[0].split(",").index(column)] = value
        edit_table(table, lines[task + 1] + "\n", ",".join(fields) + "\n")

    return damage


def without_columns(*names: str) -> Damage:
    """Takes columns out of a table, and corrects its checksum."""

    def damage(folder: Path) -> None:
        table = cell(folder) / "seed-001.csv"
        lines = [line.split(",") for line in table.read_text().splitlines()]
        kept = [index for index, name in enumerate(lines[0]) if name not in names]
        table.write_text("".join(",".join(line[index] for index in kept) + "\n" for line in lines))
        edit_json(cell(folder) / "seed-001.json", sha256=sha256(table.read_bytes()))

    return damage


def write(name: str, content: bytes) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return damage


def remove(name: str) -> Damage:
    return lambda folder: (cell(folder) / name).unlink()


def twice(kind: str) -> Damage:
    def damage(folder: Path) -> None:
        table = cell(folder) / f"{kind}-000.csv"
        shutil.copy(table, cell(folder) / f"{kind}-001.csv")
        edit_json(cell(folder) / f"{kind}-001.json", sha256=sha256(table.read_bytes()))

    return damage


def rename(old: str, new: str) -> Damage:
    return lambda folder: (cell(folder) / old).rename(cell(folder) / new)


def link(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (cell(folder) / name).unlink()
        (cell(folder) / name).symlink_to("/etc/hostname")

    return damage


def pipe(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (cell(folder) / name).unlink()
        os.mkfifo(cell(folder) / name)

    return damage


def _move_cell(folder: Path) -> None:
    cell(folder).rename(cell(folder).with_name("l2-00000000"))


def _second_cell(folder: Path) -> None:
    shutil.copytree(cell(folder), cell(folder).with_name("l2-11111111"))


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
#: Name of a kind of damage -> (the damage, words of the line that reports it).
DAMAGE: dict[str, tuple[Damage, str]] = {
    "no table": (remove("seed-001.csv"), "seed-001.csv: is missing"),
    "no provenance": (remove("seed-000.json"), "seed-000.json: is missing"),
    "no config": (remove("config.json"), "config.json: is missing"),
    "seeds with a gap": (
        lambda folder: [rename(f"seed-000{end}", f"seed-007{end}")(folder) for end in (".csv", ".json")],
        "seed 0 is missing: seeds are 0, 1, 2",
    ),
    "seed in other digits": (
        write(f"records/{FOLDER}/l2-862e076f/seed-\u0660\u0660\u0660.csv", b"task\n"),
        ".csv: unexpected file",
    ),
    "one younger column": (without_columns("cloned_fraction"), "seed-001.csv: has other columns than this"),
    "no younger column measured": (
        change("cloned_fraction", "", 0),
        "cloned_fraction is empty at task 0, at whose end it is measured",
    ),
    "clones": (change("cloned_fraction", "1.5"), "cloned_fraction is 1.5 at task 1; it is in [0, 1]"),
    "probe": (change("probe_retention", "inf", 0), "probe_retention is inf at task 0; it is finite"),
    "probe at another task": (
        change("probe_retention", "0.5"),
        "probe_retention is there for task 1, at whose end nothing is measured",
    ),
    "seed renamed": (rename("seed-001.csv", "seed-0001.csv"), "seed-0001.csv: unexpected file"),
    "twin seeds": (twice("seed"), "seed-001.csv: is, byte for byte, the table of seed 0"),
    "checksum": (write(f"records/{FOLDER}/l2-862e076f/seed-000.csv", b"task\n"), "its checksum is not"),
    "manifest": (edit("method.json", files={}), "method.json: files.records/"),
    "protocol": (edit("config.json", protocol=2), "protocol is 2; this version verifies protocol 1"),
    "protocol type": (edit("config.json", protocol=True), "protocol is true"),
    "stream version": (edit("config.json", stream__version=2), "stream.version is 2; its stream"),
    "stream unknown": (
        edit("config.json", stream__name="easy"),
        'stream.name is "easy", which is no stream',
    ),
    "stream setting": (
        edit("config.json", stream__settings={"tasks": -1}),
        "config.json: cannot be made again",
    ),
    "stream settings": (
        edit("config.json", stream__settings={"tasks": [3]}),
        "stream.settings.*: expected bool | int | float | str | null, got array",
    ),
    "fewer tasks": (
        edit("config.json", stream__tasks=2),
        "stream.tasks is 2; its stream and method make it 3",
    ),
    "more steps": (edit("config.json", stream__steps=500), "stream.steps is 500"),
    "chance": (edit("config.json", stream__chance=0.0), "stream.chance is 0.0"),
    "wider": (edit("config.json", network__hidden=[400, 400]), "network.hidden is [400, 400]"),
    "optimizer": (edit("config.json", optimizer__lr=0.01), "optimizer.lr is 0.01"),
    "config type": (edit("config.json", stream__chance="0.1"), 'stream.chance is "0.1"'),
    "config whole": (edit("config.json", optimizer__momentum=0), "optimizer.momentum is 0; "),
    "config extra": (edit("config.json", bonus=1), "bonus is not an entry that this version knows"),
    "config no stream": (edit("config.json", stream=None), "stream is null; expected object"),
    "method unknown": (
        edit("config.json", method__name="l3", method__label="l3"),
        'method.name is "l3", which is no built-in',
    ),
    "method path": (edit("config.json", method__name="../l2"), "only letters, digits"),
    "method hook": (edit("config.json", method__task_boundaries=True), "method.task_boundaries is true"),
    "method label": (edit("config.json", method__label="best"), "does not begin with the method's name"),
    "method source": (
        edit("config.json", method__source="os:system", method__digest="0" * 64),
        "the name of a built-in method",
    ),
    "settings": (edit("config.json", method__settings__strength=5.0), "method.label is"),
    "cell folder": (_move_cell, f"config.json: belongs in records/{FOLDER}/l2-862e076f"),
    "second cell": (_second_cell, "config.json: belongs in"),
    "accuracy": (change("online_performance", "1.5"), "online_performance is 1.5 at task 1; it is in [0, 1]"),
    "negative": (change("online_performance", "-0.5"), "online_performance is -0.5 at task 1"),
    "accuracy inf": (change("online_performance", "inf"), "online_performance is inf at task 1"),
    "no accuracy": (change("online_performance", ""), "online_performance is empty; an accuracy"),
    "nan": (change("online_performance", "nan"), "line 3 holds a field that is no number"),
    "loss": (change("online_loss", "-1.0"), "online_loss is -1 at task 1; it is a number from 0 on"),
    "fraction": (change("dormant_fraction", "1.01"), "dormant_fraction is 1.01 at task 1; it is in [0, 1]"),
    "rank": (change("effective_rank", "100.5"), "effective_rank is 100.5 at task 1; it is in [0, 100]"),
    "norm": (change("weight_norm", "-2.0"), "weight_norm is -2 at task 1"),
    "not measured": (change("srank", ""), "srank is empty at task 1, at whose end it is measured"),
    "not measured once": (change("final_performance", "0.5"), "final_performance is empty at task 0 but not"),
    "task order": (change("task", "2"), "tasks are not 0, 1, 2"),
    "task number": (change("task", "1.0"), "line 3 holds a field that is no number"),
    "spelling": (
        change("online_loss", "1e0"),
        "line 3 holds a field that is no number as it is written here",
    ),
    "underscore": (change("online_loss", "1_0.0"), "line 3 holds a field that is no number"),
    "blank": (change("online_loss", " 1.0"), "line 3 holds a field that is no number"),
    "quotes": (change("online_loss", '"1.0"'), "line 3 holds a field that is no number"),
    "field": (change("online_loss", "1.0,2.0"), f"line 3 has {len(COLUMNS) + 1} fields, not {len(COLUMNS)}"),
    "task missing": (
        lambda folder: edit_table(
            cell(folder) / "seed-001.csv",
            (cell(folder) / "seed-001.csv").read_text().splitlines()[3] + "\n",
            "",
        ),
        "has 2 tasks; the stream has 3",
    ),
    "columns": (
        lambda folder: edit_table(cell(folder) / "seed-001.csv", "srank", "stank"),
        "has other columns than this version records",
    ),
    "half a line": (
        lambda folder: edit_table(cell(folder) / "seed-001.csv", "\n2,", "\n2"),
        f"line 4 has {len(COLUMNS) - 1} fields",
    ),
    "seed number": (edit("seed-001.json", seed=0), "seed is 0, the file is named after seed 1"),
    "seconds": (edit("seed-001.json", seconds=-1.0), "seconds is -1.0; expected float >= 0.0"),
    "stack": (edit("seed-001.json", stack=True), "stack is true; expected int"),
    "device": (edit("seed-001.json", device="cpu\u202e"), "control characters"),
    "versions": (edit("seed-001.json", versions={}), "versions.python is missing"),
    "other seconds": (edit("seed-001.json", seconds=99.5), "scores.json: streams."),
    "score": (
        edit("scores.json", **{f"streams__{FOLDER}__metrics__level__point": 2.0}),
        "level.point is 2.0; the tables give",
    ),
    "score slightly": (
        lambda folder: edit_json(
            folder / "scores.json",
            **{
                f"streams__{FOLDER}__metrics__average_performance__per_seed__0": 1e-6
                + json.loads((folder / "scores.json").read_text())["streams"][FOLDER]["metrics"][
                    "average_performance"
                ]["per_seed"]["0"]
            },
        ),
        "average_performance.per_seed.0 is",
    ),
    "score gone": (edit("scores.json", streams={}), "does not say which seeds of the references"),
    "references": (
        edit("scores.json", **{f"streams__{FOLDER}__trained": [0, 1, 2]}),
        "rests on seeds [2] of none, which are not submitted",
    ),
    "twins": (
        edit("scores.json", **{f"streams__{FOLDER}__twins": {"none": [0, 1, 2], "none-tuned": []}}),
        "2] of none, which are not submitted",
    ),
    "references chosen": (
        edit("scores.json", **{f"streams__{FOLDER}__trained": [1]}),
        "does not say which seeds of the references",
    ),
    "references type": (
        edit("scores.json", **{f"streams__{FOLDER}__twins": ["none"]}),
        "scores.json: streams.*.twins: expected object, got array",
    ),
    "references gone": (
        edit("scores.json", **{f"streams__{FOLDER}__twins": {"none": [0, 1]}}),
        "does not say which seeds of the references",
    ),
    "schema": (edit("method.json", schema=1), "method.json: has schema 1, this version reads schema 3"),
    "name": (edit("method.json", name="l3"), "name is 'l3'; the records say 'l2'"),
    "summary": (edit("method.json", method__summary="the best"), "method.summary is 'the best'"),
    "tuned": (edit("method.json", tuned=True), "tuned is True; the records say False"),
    "more seeds": (
        edit("method.json", **{f"streams__{FOLDER}__seeds": [0, 1, 2]}),
        "seeds is [0, 1, 2]; the records say [0, 1]",
    ),
    "method type": (
        edit("method.json", submitter=["x"]),
        'submitter is ["x"]; expected object',
    ),
    "submitter": (
        edit("method.json", submitter={"name": "x"}),
        'submitter is {"name": "x"}; this version writes',
    ),
    "search space": (
        edit("method.json", search_space__strength="all"),
        "search_space.*: expected array, got str",
    ),
    "no method.json": (lambda folder: (folder / "method.json").unlink(), "method.json: cannot be read"),
    "no scores.json": (lambda folder: (folder / "scores.json").unlink(), "scores.json: cannot be read"),
    "not JSON": (write("scores.json", b"{"), "scores.json: Expecting"),
    "list": (write("method.json", b"[]"), "method.json: not a JSON object"),
    "deep": (write("scores.json", DEEP), "scores.json: is nested more than"),
    "deep enough to parse": (write("scores.json", b'{"a":' * 50 + b"1" + b"}" * 50), "is nested more than"),
    "endless number": (
        write("scores.json", b'{"a":' + b"9" * 100_000 + b"}"),
        "holds a whole number beyond",
    ),
    "endless float": (write("scores.json", b'{"a":1e999}'), "holds a number that is too long or too large"),
    "NaN": (write("scores.json", b'{"a":NaN}'), "holds NaN, which is not JSON"),
    "Infinity": (write("scores.json", b'{"a":-Infinity}'), "holds -Infinity, which is not JSON"),
    "twice": (write("scores.json", b'{"a":1,"a":2}'), 'holds the key "a" twice'),
    "surrogate": (write("scores.json", b'{"a":"\\ud800"}'), "control characters"),
    "line end": (write("scores.json", b'{"a":"\\n::error::"}'), "control characters"),
    "bytes": (write("scores.json", b"\xff\xfe"), "is not UTF-8 text"),
    "endless text": (write("scores.json", b'{"a":"' + b"x" * 10_000 + b'"}'), "a text of more than"),
    "pickle": (write("policy.pt", b"\x80\x04."), "policy.pt: unexpected file"),
    "hidden": (write(".git/config", b""), ".git/config: unexpected file"),
    "control character": (write("a\x1b[31m\nb", b""), "a\\x1b[31m\\nb: unexpected file"),
    "checkpoint": (write(f"records/{FOLDER}/l2-862e076f/checkpoint-0.pt", b""), "unexpected file"),
    "source of a built-in": (write("source/l2.py", b""), "source/l2.py: unexpected file"),
    "deep folders": (write("a/b/c/d/e/f/g/h", b""), "folders are nested more than"),
    "link": (link("seed-001.csv"), "seed-001.csv: is a symbolic link"),
    "pipe": (pipe("seed-000.json"), "seed-000.json: is not a plain file"),
    "no records": (lambda folder: shutil.rmtree(folder / "records"), "records: holds no cell"),
}
