"""Which classes are recognised, and which are taken for which, by network and subject."""

from collections import Counter
from collections.abc import Iterable, Sequence

from orchestrator.errors import shortened
from orchestrator.printable import printable
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.studies.section import Section, StudyRow, StudyTable, grouped, ok

MOST_SHOWN = 3
"""Confusions of a row."""


def classes_section(stored: StoredRun) -> Section | None:
    """Accuracy of each class, and the confusions of each subject; None where no trial has told them."""
    told = [job for job in ok(stored.trials) if counts_of(job)]
    if not told:
        return None
    places = grouped(told, lambda job: (job.trial.cell.title, job.trial.subject))
    overview, by_class, pairs = [], [], []
    for (cell, subject), jobs in places.items():
        names = names_of(stored, jobs[0])
        counts = total(jobs)
        where: StudyRow = {"cell": cell, "subject": subject}
        overview.append(where | _overview(counts, names))
        by_class += [where | row for row in _by_class(counts, names)]
        pairs += [
            where | {"class": names(true), "taken_for": names(taken), "pictures": count}
            for (true, taken), count in sorted(counts.items())
        ]
    headings = {"cell": "of", "subject": "subject", "least": "class recognised least", "accuracy_least": "its accuracy"}
    headings |= {"classes_missed": "classes never recognised", "confused": "most often taken for another"}
    each = {"cell": "of", "subject": "subject", "class": "class", "pictures": "pictures", "accuracy_test": "accuracy"}
    return Section(
        anchor="classes",
        title="Classes",
        about=(
            "What the test pictures of each class were taken for after the last epoch, over all trials of a row "
            "together. A class of few pictures has an accuracy of wide scatter."
        ),
        verdicts=(),
        tables=(
            StudyTable("classes", "The hardest class of each row, and its commonest confusions.", headings, overview),
            StudyTable(
                "accuracy-by-class",
                "Accuracy of each class:",
                each | {"taken_for": "most often taken for", "share_taken": "share of it"},
                by_class,
                is_detail=True,
                is_data=True,
            ),
            StudyTable(
                "confusion",
                "The confusion matrices, without zeros:",
                {name: word for name, word in each.items() if name != "accuracy_test"} | {"taken_for": "taken for"},
                pairs,
                is_detail=True,
                is_data=True,
            ),
        ),
    )


class Names:
    """The name of each class, by its number; the number where no name is known."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __call__(self, number: int) -> str:
        return shortened(printable(self._names[number])) if number < len(self._names) else str(number)


def names_of(stored: StoredRun, job: StoredTrial) -> Names:
    """Those of the pictures of a trial."""
    return Names(stored.facts.class_names.get(job.trial.dataset.name, ()))


Pairs = Counter[tuple[int, int]]
"""(class, class it was taken for) -> pictures."""


def counts_of(job: StoredTrial) -> Pairs:
    """The confusions of one trial; empty where it has told none."""
    told = job.timeline.confusion
    return Counter({(true, taken): count for true, taken, count in told.counts} if told else {})


def total(jobs: Iterable[StoredTrial]) -> Pairs:
    """Those of several trials together."""
    counts: Pairs = Counter()
    for job in jobs:
        counts.update(counts_of(job))
    return counts


def _overview(counts: Pairs, names: Names) -> StudyRow:
    rows = _accuracies(counts)
    least = min(rows, key=lambda label: (rows[label][0] / rows[label][1], label))
    missed = sum(right == 0 for right, _ in rows.values())
    wrong = [(pair, count) for pair, count in counts.most_common() if pair[0] != pair[1]][:MOST_SHOWN]
    confused = "; ".join(
        f"{names(true)} for {names(taken)} ({count} of {rows[true][1]})" for (true, taken), count in wrong
    )
    row: StudyRow = {"least": names(least), "accuracy_least": rows[least][0] / rows[least][1]}
    return row | {"classes_missed": missed, "confused": confused}


def _by_class(counts: Pairs, names: Names) -> Iterable[StudyRow]:
    for label, (right, pictures) in sorted(_accuracies(counts).items()):
        wrong = {taken: count for (true, taken), count in counts.items() if true == label and taken != label}
        most = max(wrong, key=lambda taken: (wrong[taken], -taken), default=None)
        row: StudyRow = {"class": names(label), "pictures": pictures, "accuracy_test": right / pictures}
        row |= {"taken_for": None if most is None else names(most)}
        yield row | {"share_taken": None if most is None else wrong[most] / pictures}


def _accuracies(counts: Pairs) -> dict[int, tuple[int, int]]:
    """Class -> (pictures recognised, pictures)."""
    rows: dict[int, tuple[int, int]] = {}
    for (true, taken), count in counts.items():
        right, pictures = rows.get(true, (0, 0))
        rows[true] = right + (count if true == taken else 0), pictures + count
    return rows
