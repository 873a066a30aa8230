"""What submissions add to the leaderboard: the source code of plug-in methods, and the submitter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from plasticity_bench.page.rows import SubmissionDetails
from plasticity_bench.submissions.documents import Submitter
from plasticity_bench.submissions.model import Submission


def submission_details(submissions: Sequence[Submission]) -> dict[str, SubmissionDetails]:
    """Method's label -> what its submission adds.

    Built-in methods have no source code in a submission. Several files are joined.
    """
    found = {}
    for submission in submissions:
        sources = sorted(submission.sources.items())
        texts = [content.decode("utf-8", "replace") for _, content in sources]
        names = [PurePosixPath(name).name for name, _ in sources]
        by = submission.method.submitter if submission.method else Submitter()
        found[submission.label] = SubmissionDetails("\n\n".join(texts), ", ".join(names), by.link, by.name)
    return found
