"""Ways to damage the sweep's table of a tuned submission, and the words that report each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.submission_bench import FOLDER, edit_json
from tests.support.submission_damage import Damage, cell, edit


def tune(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Changes the document of tuning.json."""

    def damage(folder: Path) -> None:
        path = cell(folder) / "tuning.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")

    return damage


def put(*path: str | int, value: object) -> Damage:
    """Replaces the entry at this path of keys and indices in tuning.json."""

    def change(document: dict[str, Any]) -> None:
        inner: Any = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return tune(change)


def row(index: int, **entries: object) -> Damage:
    """Replaces entries of one configuration."""
    return tune(lambda document: document["configurations"][index].update(entries))


def rows(change: Callable[[list[Any]], object]) -> Damage:
    """Changes the configurations, and the budget to as many."""

    def both(document: dict[str, Any]) -> None:
        change(document["configurations"])
        document["budget"] = len(document["configurations"])

    return tune(both)


def content(data: bytes) -> Damage:
    return lambda folder: (cell(folder) / "tuning.json").write_bytes(data)


def _better(first: int, last: int) -> Damage:
    """Gives the first configuration the scores of the last."""

    def change(found: list[Any]) -> None:
        found[first].update({key: found[last][key] for key in ("score", "per_seed")})

    return rows(change)


def _untuned_folder(folder: Path) -> None:
    cell(folder).rename(cell(folder).with_name(cell(folder).name.removesuffix("-tuned")))


def _tuning_seed(folder: Path) -> None:
    for end in (".csv", ".json"):
        (cell(folder) / f"seed-001{end}").rename(cell(folder) / f"seed-10000{end}")
    edit_json(cell(folder) / "seed-10000.json", seed=10000)


def _cheat(folder: Path) -> None:
    """The table chooses the default, but another configuration was run."""
    tune(lambda document: document.update(chosen=0))(folder)
    row(0, per_seed=[1.0, 1.0], score=1.0)(folder)


#: Name of a kind of damage -> (the damage to the tuned submission of l2, words of the line that reports it).
#: Its sweep chose configuration 3 of 4.
DAMAGE: dict[str, tuple[Damage, str]] = {
    "missing": (lambda folder: (cell(folder) / "tuning.json").unlink(), "tuning.json is missing next to it"),
    "folder": (_untuned_folder, "config.json: belongs in records/"),
    "NaN": (content(b'{"schema": NaN}'), "tuning.json: holds NaN, which is not JSON"),
    "deep": (content(b"[" * 100_000), "tuning.json: is nested more than"),
    "list": (content(b"[]"), "tuning.json: not a JSON object"),
    "large": (content(b" " * 2_000_001), "tuning.json: is larger than 2,000,000 bytes"),
    "schema": (put("schema", value=2), "tuning.json: schema is 2; this version reads 1"),
    "entry gone": (tune(lambda document: document.pop("design")), "tuning.json: design is missing"),
    "entry more": (put("bonus", value=1), "bonus is not an entry that this version knows"),
    "type": (put("budget", value=True), "budget is true; expected int"),
    "budget": (put("budget", value=12), "budget is 12; it holds 4 configurations"),
    "stream": (put("stream", value="bit-flip-v1"), f'stream is "bit-flip-v1", but its folder is "{FOLDER}"'),
    "method": (put("method", value="syre"), 'method is "syre"; config.json next to it makes it "l2"'),
    "method's file": (put("method", value="/x/evil.py:Evil"), 'method is "/x/evil.py:Evil"; config.json'),
    "objective": (put("objective", value="the best seed"), 'objective is "the best seed"; this version'),
    "control characters": (put("objective", value="\u202e"), "control characters"),
    "reported seeds": (put("seeds", value=[0, 1]), "seeds are [0, 1]; tuning seeds are 10000, 10001"),
    "seeds with a gap": (put("seeds", value=[10000, 10002]), "tuning seeds are 10000, 10001"),
    "no seeds": (put("seeds", value=[]), "seeds has 0 entries, not 1 to"),
    "seed tuned and reported": (_tuning_seed, "seed-10000.csv: was used to tune"),
    "wider space": (put("space", "strength", value=[1e-9, 1.0]), "space is not the one that this version"),
    "space gone": (put("space", value={}), "space has 0 entries"),
    "space type": (put("space", "lr", value="all"), "space.*: expected array, got str"),
    "space empty": (put("space", "lr", value=[]), "space.lr is not a list of 1 to 100 values"),
    "space mixed": (put("space", "lr", value=[1, "a"]), "space.lr is not of numbers, or of texts"),
    "space order": (put("space", "lr", value=[0.01, 0.0001]), "in ascending order"),
    "design": (put("design", value=1), "configurations[1].settings is"),
    "outside": (row(1, settings={"lr": "9", "strength": "9"}), "configurations[1].settings is"),
    "swapped": (rows(lambda found: found.insert(1, found.pop(2))), "a sweep tries"),
    "no default": (rows(lambda found: found.__setitem__(0, found[1])), "configurations[0].settings is"),
    "tried twice": (rows(lambda found: found.__setitem__(1, found[2])), "configurations[1].settings is"),
    "many": (rows(lambda found: found.extend(found * 300)), "configurations has 1204 entries, not 1 to 1000"),
    "row": (rows(lambda found: found.append("x")), 'configurations[4] is "x"; expected object'),
    "row's entry": (row(2, bonus=1), "configurations[2].bonus is not an entry that this version knows"),
    "settings type": (row(2, settings={"lr": 0.1}), "configurations[2].settings.*: expected str, got float"),
    "settings long": (row(2, settings={"lr": "0" * 500}), "configurations[2].settings.lr is"),
    "label": (row(1, label="l2"), 'configurations[1].label is "l2"; its settings make it'),
    "cell": (row(1, cell="l2-00000000"), 'configurations[1].cell is "l2-00000000"; its settings make it'),
    "score": (row(1, score=0.1), "configurations[1].score is 0.1; the mean of its seeds is"),
    "score nan": (row(1, score=None), "configurations[1].score is null; the mean"),
    "score type": (row(1, score="high"), 'configurations[1].score is "high"; expected float | null'),
    "seeds nan": (row(1, per_seed=[None, 0.5]), "the mean of its seeds is null"),
    "seeds short": (row(1, per_seed=[0.5]), "configurations[1].per_seed has 1 values for 2 seeds"),
    "seeds impossible": (row(1, per_seed=[1.5, 0.5], score=1.0), "values are none, or from 0 to 1"),
    "seeds type": (row(1, per_seed=["a", 0.5]), 'configurations[1].per_seed[0] is "a"; expected float'),
    "seconds": (row(1, seconds=-1.0), "configurations[1].seconds is -1.0"),
    "chosen": (put("chosen", value=2), "chosen is 2; the first of the best is configuration 3"),
    "chosen nowhere": (put("chosen", value=-1), "chosen is -1; expected int >= 0"),
    "chosen beyond": (put("chosen", value=4), "chosen is 4; there are 4 configurations"),
    "tie": (_better(0, 3), "chosen is 3; the first of the best is configuration 0"),
    "other settings": (_cheat, 'method is "l2"; config.json next to it makes it "l2:lr='),
    "best settings": (
        edit("method.json", **{f"streams__{FOLDER}__settings__lr": 0.5}),
        f"streams.{FOLDER}.settings.lr is 0.5; the records say",
    ),
    "cheap": (
        edit("method.json", **{f"streams__{FOLDER}__tuning__seconds": 0.0}),
        f"streams.{FOLDER}.tuning.seconds is 0.0; the records say 2.0",
    ),
    "untuned": (edit("method.json", tuned=False), "tuned is False; the records say True"),
    "search space": (
        edit("method.json", search_space__strength=[1.0]),
        f"method.json: search_space is not the one of the sweep on {FOLDER}",
    ),
}


#: The same for a tuned plug-in, whose sweep chose configuration 2 of 4.
PLUGIN_DAMAGE: dict[str, tuple[Damage, str]] = {
    "space": (put("space", "strength", value=[1e-5, 1e-3]), "search_space is not the one of the sweep"),
    "learning rates": (put("space", "lr", value=[1e-9, 1.0]), "space.lr is [1e-09, 1.0]; on this stream"),
    "no learning rate": (tune(lambda document: document["space"].pop("lr")), "space.lr is null"),
    "unknown": (put("space", "width", value=[1, 2]), 'space.width is no setting of "noise"'),
    "outside": (
        row(1, settings={"lr": "0.001", "strength": "0.5"}),
        'configurations[1].settings.strength is "0.5", which is outside space.strength',
    ),
    "spelling": (
        row(1, settings={"lr": "1e-3", "strength": "0.0002"}),
        'configurations[1].settings.lr is "1e-3", which is outside space.lr',
    ),
    "no number": (row(1, settings={"lr": "x", "strength": "0.0002"}), "which is outside space.lr"),
    "other settings": (
        row(1, settings={"lr": "0.001", "strength": "0.0002"}),
        "configurations[1].cell is",
    ),
    "fewer settings": (row(2, settings={"lr": "0.001"}), 'configurations[2].settings are of ["lr"]'),
    "no default": (row(0, settings={"lr": "0.001"}), "a sweep tries {} there"),
    "tried twice": (
        rows(lambda found: found.__setitem__(1, {**found[2], "label": found[1]["label"]})),
        "configurations[2] is tried twice",
    ),
    "label": (row(1, label="l2"), '"l2" is no label of "noise"'),
    "label of a sweep": (put("method", value="noise (tuned)"), '"noise (tuned)" is no label of "noise"'),
    "method": (put("method", value="noise:strength=0.5"), 'its default is "noise"'),
    "cell": (row(1, cell="noise-00000000"), 'configurations[1].cell is "noise-00000000"; its settings'),
    "default's cell": (row(0, cell="l2-862e076f"), 'cell is "l2-862e076f", which is no cell of noise'),
    "chosen's label": (row(2, label="noise:lr=9"), 'chose "noise:lr=9"; config.json next to it is of'),
}


def tune_untuned(folder: Path, tuned: Path) -> None:
    """Puts the sweep's table of ``tuned`` next to records that have none."""
    shutil.copy(cell(tuned) / "tuning.json", cell(folder) / "tuning.json")
