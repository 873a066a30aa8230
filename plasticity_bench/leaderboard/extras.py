"""What submissions add to the leaderboard's page: the source code of plug-in methods, and the submitter."""

from __future__ import annotations

from pathlib import Path

from plasticity_bench.errors import InputError
from plasticity_bench.page.rows import SubmissionDetails
from plasticity_bench.storage.untrusted import MAX_JSON, MAX_SOURCE, Refused, parse_object, read_file
from plasticity_bench.submissions.model import METHOD, SOURCE, read_submitters


def extras(submissions: Path) -> dict[str, SubmissionDetails]:
    """Method's label -> what its submission adds, from a folder of verified submissions.

    Empty if the folder holds no submissions. Built-in methods have no source code there; several files are
    joined. Raises InputError if a method.json or a source file is damaged.
    """
    submitters = read_submitters(submissions)
    found = {}
    for path in sorted(submissions.glob(f"*/{METHOD}")):
        label = str(parse_object(read_file(path, MAX_JSON))["method"]["label"])
        files = sorted(path.parent.glob(f"{SOURCE}/*.py"))
        try:
            texts = [read_file(file, MAX_SOURCE).decode("utf-8", "replace") for file in files]
        except Refused as error:
            raise InputError(f"{path.parent / SOURCE}: {error}; see leaderboard --verify") from None
        by = submitters[label]
        found[label] = SubmissionDetails(
            "\n\n".join(texts), ", ".join(file.name for file in files), by.link, by.name
        )
    return found
