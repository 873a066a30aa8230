"""Ways to damage the fresh twins of a submission of l2, and the words that report each."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.submission_bench import FOLDER, edit_table
from tests.support.submission_damage import (
    Damage,
    cell,
    change,
    edit,
    link,
    pipe,
    remove,
    rename,
    twice,
    write,
)


def each(*damages: Damage) -> Damage:
    def damage(folder: Path) -> None:
        for inner in damages:
            inner(folder)

    return damage


#: Name of a kind of damage -> (the damage, words of the line that reports it).
TWIN_DAMAGE: dict[str, tuple[Damage, str]] = {
    "no table": (remove("fresh-001.csv"), "fresh-001.csv: is missing"),
    "no provenance": (remove("fresh-000.json"), "fresh-000.json: is missing"),
    "a seed without twins": (
        each(remove("fresh-001.csv"), remove("fresh-001.json")),
        "l2-862e076f: seed 1 without fresh twins, which others have: give all seeds twins, or none",
    ),
    "no twins, though recorded": (
        each(*(remove(f"fresh-00{seed}{end}") for seed in (0, 1) for end in (".csv", ".json"))),
        f"files.records/{FOLDER}/l2-862e076f/fresh-000.csv is",
    ),
    "of no seed": (
        each(*(rename(f"fresh-001{end}", f"fresh-002{end}") for end in (".csv", ".json"))),
        "fresh-002.csv: is of fresh twins of seed 2, which is not submitted",
    ),
    "without the seed": (
        each(remove("seed-001.csv"), remove("seed-001.json")),
        "fresh-001.json: is of fresh twins of seed 1, which is not submitted",
    ),
    "renamed": (rename("fresh-001.csv", "fresh-0001.csv"), "fresh-0001.csv: unexpected file"),
    "in other digits": (
        write(f"records/{FOLDER}/l2-862e076f/fresh-\u0660\u0660\u0660.csv", b"task\n"),
        ".csv: unexpected file",
    ),
    "rollouts": (
        write(f"records/{FOLDER}/l2-862e076f/fresh-000.rollouts.csv", b"task\n"),
        "fresh-000.rollouts.csv: unexpected file",
    ),
    "twice": (twice("fresh"), "fresh-001.csv: is, byte for byte, the table of seed 0"),
    "checksum": (
        write(f"records/{FOLDER}/l2-862e076f/fresh-000.csv", b"task\n"),
        "fresh-000.csv: its checksum is not",
    ),
    "manifest": (
        change("online_performance", "0.5", kind="fresh"),
        f"files.records/{FOLDER}/l2-862e076f/fresh-001.csv is",
    ),
    "the seed's table": (
        lambda folder: shutil.copy(cell(folder) / "seed-001.csv", cell(folder) / "fresh-001.csv"),
        "fresh-001.csv: has other columns than this version records",
    ),
    "task order": (
        change("task", "2", kind="fresh"),
        "fresh-001.csv: tasks are not the 3 of fresh twins: every tenth task, and the late ones",
    ),
    "no task": (change("task", "", kind="fresh"), "tasks are not the 3 of fresh twins"),
    "task missing": (
        lambda folder: edit_table(
            cell(folder) / "fresh-001.csv",
            (cell(folder) / "fresh-001.csv").read_text().splitlines()[3] + "\n",
            "",
        ),
        "tasks are not the 3 of fresh twins",
    ),
    "spelling": (change("online_loss", "1e0", kind="fresh"), "line 3 holds a field that is no number as"),
    "half a line": (lambda folder: edit_table(cell(folder) / "fresh-001.csv", "\n2,", "\n2"), "line 4 has 4"),
    "accuracy": (
        change("online_performance", "1.5", kind="fresh"),
        "fresh-001.csv: online_performance is 1.5 at task 1; it is in [0, 1]",
    ),
    "negative": (change("online_performance", "-0.5", kind="fresh"), "online_performance is -0.5 at task 1"),
    "accuracy inf": (
        change("online_performance", "inf", kind="fresh"),
        "online_performance is inf at task 1",
    ),
    "no accuracy": (
        change("online_performance", "", kind="fresh"),
        "online_performance is empty; an accuracy",
    ),
    "loss": (
        change("online_loss", "-1.0", kind="fresh"),
        "online_loss is -1 at task 1; it is a number from 0",
    ),
    "loss gone": (
        each(*(change("online_loss", "", task, kind="fresh") for task in range(3))),
        "fresh-001.csv: online_loss is empty throughout",
    ),
    "final once": (
        change("final_performance", "0.5", kind="fresh"),
        "final_performance is empty at task 0 but not everywhere",
    ),
    "final that the seed lacks": (
        change("final_performance", "0.5", kind="fresh"),
        "final_performance is there for task 1, but not in the seed's own table",
    ),
    "variance of classes": (
        change("target_variance", "1.0", kind="fresh"),
        "target_variance is there for task 1; a stream of accuracy has none",
    ),
    "seed number": (
        edit("fresh-001.json", seed=0),
        "fresh-001.json: seed is 0, the file is named after seed 1",
    ),
    "provenances swapped": (
        each(
            rename("fresh-000.json", "x"),
            rename("fresh-001.json", "fresh-000.json"),
            rename("x", "fresh-001.json"),
        ),
        "fresh-000.json: seed is 1, the file is named after seed 0",
    ),
    "protocol": (edit("fresh-000.json", protocol=2), "fresh-000.json: protocol is 2; this version verifies"),
    "stack": (edit("fresh-001.json", stack=True), "fresh-001.json: stack is true; expected int"),
    "versions": (edit("fresh-001.json", versions__torch="1.0"), "method.json: environments is"),
    "link": (link("fresh-001.csv"), "fresh-001.csv: is a symbolic link"),
    "pipe": (pipe("fresh-000.json"), "fresh-000.json: is not a plain file"),
}
