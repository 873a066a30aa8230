"""The pages of methods: one for each, and the overview by family."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

from docs.generate.markdown import COMMENT, bullets, code, facts, inert, paragraphs, sentence, shell, table
from docs.generate.results import ROOT, explanation, method_link, of_method, rows
from docs.generate.settings import settings_of
from plasticity_bench.agents.methods import Method, Paper
from plasticity_bench.errors import InputError
from plasticity_bench.plugins import import_class
from plasticity_bench.ranges import POSITIVE
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.families import FAMILIES
from plasticity_bench.registry.settings import setting_text
from plasticity_bench.specs import NetworkSpec, check_acting
from plasticity_bench.tuning.search import LEARNING_RATE_RANGE

PLAIN = NetworkSpec((4,), 2, (8,))
OVERVIEW = """\
# Methods

A method changes how a network is trained, or the network itself, so that it keeps learning. Every method has
a page with its settings, its papers, its differences from them, and its results. `python -m plasticity_bench
list methods` prints the same list.

Methods can be combined: `--method layer-norm+l2:strength=1e-2` trains both as one method. {combined}

A [method of your own](your-own-method.md) is one Python file.
"""


def pages() -> Iterator[tuple[str, str]]:
    """Path within docs/ and text of every page."""
    classes = {name: import_class(where) for name, where in METHODS.items()}
    yield "methods.md", _overview(classes)
    for name, cls in classes.items():
        yield f"methods/{name}.md", _page(name, cls)


def _overview(classes: dict[str, type[Method]]) -> str:
    combined = sorted({row.method for row in rows() if "+" in row.method})
    recorded = f"The leaderboard has {', '.join(map(code, combined))}." if combined else ""
    parts = [COMMENT, OVERVIEW.format(combined=recorded)]
    for family, summary in FAMILIES.items():
        own = {name: cls.info for name, cls in classes.items() if cls.info.family == family}
        if own:
            lines = (
                [
                    method_link(name, "methods/"),
                    inert(info.summary),
                    "yes" if info.task_boundaries else "no",
                    "; ".join(_short(paper) for paper in info.papers),
                ]
                for name, info in own.items()
            )
            head = ("method", "what it does", "uses task boundaries", "source")
            parts.append(f"## {family.capitalize()}\n\n{sentence(summary)}\n\n{table(head, lines)}")
    return "\n".join(parts)


def _short(paper: Paper) -> str:
    """Authors and year, with a link."""
    who = inert(paper.citation[: paper.citation.index(str(paper.year))] + str(paper.year))
    return f"[{who}]({paper.url})" if paper.url else who


def _page(name: str, cls: type[Method]) -> str:
    parts = [
        COMMENT,
        f"# {name}\n",
        f"{sentence(inert(cls.info.summary))}\n",
        facts(_facts(cls)),
        f"## Run it\n\n{_run(name, cls)}",
        f"## Settings\n\n{_settings(cls)}",
        f"## How it works, and how it differs from its sources\n\n{_description(cls)}\n",
        f"## Papers\n\n{_papers(cls)}",
        f"## Results\n\n{of_method(name)}",
        explanation("../../leaderboard/README.md", "../concepts.md"),
    ]
    return "\n".join(parts)


def _facts(cls: type[Method]) -> Iterator[tuple[str, str]]:
    info, file = cls.info, _source(cls)
    yield "family", f"[{info.family}](../methods.md#{info.family.replace(' ', '-')})"
    yield (
        "uses task boundaries",
        "yes: it is notified when the task changes" if info.task_boundaries else "no",
    )
    yield "changes the network", "yes" if _changes_network(cls) else "no"
    yield "trains agents that act (PPO)", "yes" if _acts(cls) else "no: use a supervised stream"
    yield "in your own training code", f"{_need(cls)} ([adapters](../adapters.md))"
    if info.off:
        yield "is plain training with", f"{code(info.off)}, bit for bit"
    if info.acts_after:
        yield "acts after", f"{code(info.acts_after)} tasks: a stream without more tasks is refused"
    yield "code", f"[{file}](../../{file})"


def _source(cls: type[Method]) -> str:
    folder = "agents/methods"  # plasticity_bench/agents is this folder
    return f"{folder}/{cls.__module__.rpartition('.')[2]}.py"


def _changes_network(cls: type[Method]) -> bool:
    return cls().network(PLAIN) != PLAIN or bool(cls.info.acts_after)


def _acts(cls: type[Method]) -> bool:
    try:
        check_acting(cls().network(PLAIN), cls.info.name)
    except InputError:
        return False
    return True


def _need(cls: type[Method]) -> str:
    if _changes_network(cls):
        return "refused: a network that exists already cannot be changed"
    if cls.needs_features:
        return "for networks whose layers follow each other one by one"
    if cls.needs_order:
        return "for networks that `torch.fx` can trace"
    return "for any network of linear layers and convolutions"


def _run(name: str, cls: type[Method]) -> str:
    commands = [f"python -m plasticity_bench run --method {name}"]
    for setting in settings_of(cls):
        values = cls.info.search_space.get(setting.name, ())
        other = next((text for text in map(setting_text, values) if text != setting.default), None)
        if other:
            commands.append(f"{commands[0]}:{setting.name}={other}")
            break
    return (
        f"{shell(*commands)}\n"
        "```python\n"
        "import plasticity_bench as pb\n\n"
        f'result = pb.run("{name}", stream="permuted-digits", seeds=4)\n'
        "print(result.scores())\n"
        "```\n"
    )


def _settings(cls: type[Method]) -> str:
    lines = []
    for setting in settings_of(cls):
        tried = cls.info.search_space.get(setting.name, ())
        searched = ", ".join(map(setting_text, tried))
        facts = code(setting.name), setting.kind, code(setting.default), inert(setting.meaning)
        lines.append([*facts, setting.allowed, searched])
    times = f"{LEARNING_RATE_RANGE:g}"
    step = "step size of the optimizer, in place of the stream's"
    around = f"from the stream's / {times} to the stream's x {times}"
    lines.append([code("lr"), "number", "the stream's", step, str(POSITIVE), around])
    return table(("name", "type", "default", "meaning", "allowed", "values for `sweep`"), lines)


def _description(cls: type[Method]) -> str:
    own = paragraphs(inspect.getdoc(cls) or "")
    more = (inspect.getdoc(sys.modules[cls.__module__]) or "").partition("\n\n")[2]
    return f"{own}\n\n{paragraphs(more)}" if more else own


def _papers(cls: type[Method]) -> str:
    if not cls.info.papers:
        return "None.\n"
    return bullets(
        f"[{inert(paper.citation)}]({paper.url})" if paper.url else inert(paper.citation)
        for paper in cls.info.papers
    )


def existing() -> list[str]:
    """Files of this kind that docs/ holds, as ``pages`` names them."""
    return [f"methods/{path.name}" for path in (ROOT / "docs" / "methods").glob("*.md")]
