"""How fast trained networks run: latencies and throughput, beside the proof that all subjects give the same answers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.analysis import latency
from orchestrator.environment import FLOAT32
from orchestrator.records.payloads import Answers, Check
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.studies.section import Section, StudyRow, StudyTable, grouped, note_of, ok
from orchestrator.report.tables import natural, offline_images_per_second
from orchestrator.report.text import percent, tiny
from orchestrator.trial import Cell
from workers.bounds import INT8, KEPT

FRAME_MS = 1000 / 30


class _Key(NamedTuple):
    subject: str
    cell: Cell


def inference_section(stored: StoredRun) -> Section | None:
    """A row for each subject and cell of an inference; None for a run that trains."""
    asked = [job for job in stored.trials if job.trial.inference is not None]
    if not asked:
        return None
    groups = grouped(asked, lambda job: _Key(job.trial.subject, job.trial.cell))
    ordered = sorted(groups, key=lambda key: natural(f"{key.cell.title} {key.subject}"))
    rows = [_row(key, groups[key]) for key in ordered]
    front = _pareto(rows)
    headings = {"cell": "cell", "subject": "subject", "p50_ms": "p50 ms", "p90_ms": "p90 ms", "p99_ms": "p99 ms"}
    headings |= {"proven_p90_ms": "proven p90", "proven_p99_ms": "proven p99", "images_per_second": "images/s"}
    headings |= {"queries_per_second": "queries/s in time", "queries": "queries", "note": "note"}
    weights = "; ".join(f"{source.network}: {source.subject} of run {source.run_id}" for source in stored.facts.weights)
    return Section(
        anchor="inference",
        title="Inference",
        about=(
            "One set of trained weights for all subjects of a network. A latency runs from pictures in memory to their "
            "logits. Scenarios are those of MLPerf Inference; runs of less than 600 s are not MLPerf's. p50, p90, p99: "
            "as seen, all queries of all repeats. proven: what the fewest of its repeats prove with 99 % confidence "
            "(MLPerf's early stopping). other classes: test pictures of which another class is predicted than by the "
            f"oracle. Weights: {weights or 'not on record'}."
        ),
        verdicts=(*_equality(asked), *_lower(rows), *_deployed(front)),
        tables=(
            StudyTable("inference", "Latency and throughput.", headings, rows),
            _answers_table(rows),
            *_front_table(front),
        ),
        notes=("Source: Reddi et al. 2020, MLPerf Inference Benchmark, arXiv:1911.02549.",),
    )


def precision_of(job: StoredTrial) -> str:
    """What it says that it computes in; float32 if it says nothing."""
    built = job.timeline.built
    return str(built.describe.get("precision", FLOAT32)) if built else FLOAT32


def _row(key: _Key, trials: Sequence[StoredTrial]) -> StudyRow:
    sound = [job for job in ok(trials) if job.timeline.queries]
    row: StudyRow = {"cell": key.cell.title, "subject": key.subject, "runs": len(sound), "note": note_of(trials)}
    inference = trials[0].trial.inference
    assert inference is not None
    row |= {"network": key.cell.network, "device": key.cell.device, "scenario": inference.scenario}
    row |= {"batch_size": inference.batch_size}
    if not sound:
        return row
    each = [np.array(job.timeline.queries.latency_seconds) for job in sound if job.timeline.queries]
    together = np.concatenate(each)
    row |= {"precision": precision_of(sound[0]), "queries": int(together.size)}
    if inference.scenario != "offline":
        for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99")):
            row[f"{name}_ms"] = _ms(latency.percentile(together, share))
        for share, name in ((0.9, "p90"), (0.99, "p99")):
            proven = [latency.proven(values, share) for values in each]
            row[f"proven_{name}_ms"] = None if None in proven else _ms(max(filter(None, proven)))
    if inference.scenario == "server":
        rates = [job.timeline.queries.rate for job in sound if job.timeline.queries]
        row["queries_per_second"] = float(np.median([rate or 0.0 for rate in rates]))
    if inference.scenario == "offline":
        rates = [offline_images_per_second(job.timeline.queries, inference) for job in sound if job.timeline.queries]
        row["images_per_second"] = float(np.median([rate or 0.0 for rate in rates]))
    accuracies = [job.timeline.accuracy("test") for job in sound]
    checks = [job.timeline.check.figures.get("logits") for job in sound if job.timeline.check]
    row["accuracy_test"] = accuracies[0]
    row["differing"] = max(len(job.timeline.answers.differing) for job in sound if job.timeline.answers)
    kept = sound[0].timeline.answers.kept if sound[0].timeline.answers else None
    describe = sound[0].timeline.built.describe if sound[0].timeline.built else {}
    size = describe.get("model_bytes")
    row["model_kib"] = size / 1024 if isinstance(size, int) else None
    vnni = describe.get("vnni")
    row["vnni"] = "yes" if vnni is True else "no" if vnni is False else ""
    row |= dict(zip(("share_kept", "share_kept_low", "share_kept_high"), kept or (None,) * 3, strict=True))
    row["logits_off"] = "infinite" if None in checks or not checks else tiny(max(filter(None, checks), default=0.0))
    return row


def _answers_table(rows: Iterable[StudyRow]) -> StudyTable:
    """A row for each subject and network: what it computes in, and how its answers differ; the worst of its cells."""
    worst_rows: dict[tuple[str, str], StudyRow] = {}
    for row in rows:
        if "precision" in row:
            key = (row["network"], row["subject"])
            worst = worst_rows.get(key)
            if worst is None or row["differing"] > worst["differing"]:
                worst_rows[key] = row
    headings = {"network": "network", "subject": "subject", "precision": "computes in", "logits_off": "logits off by"}
    headings |= {"differing": "other classes", "accuracy_test": "test", "share_kept": "of float32's accuracy"}
    headings |= {"model_kib": "network KiB", "vnni": "VNNI"}
    names = [*headings, "share_kept_low", "share_kept_high"]
    told = [{name: row[name] for name in names} for row in worst_rows.values()]
    return StudyTable("answers", "The same answers?", headings, told)


def _pareto(rows: Iterable[StudyRow]) -> list[StudyRow]:
    """The rows of single-stream that have a latency, the fastest first; `front`: nothing beats it in both."""
    timed = [row for row in rows if row["scenario"] == "single-stream" and row.get("p50_ms") is not None]
    ordered = sorted(timed, key=lambda row: (row["p50_ms"], -row["accuracy_test"]))
    ranked, best = [], dict[str, float]()
    for row in ordered:
        is_front = row["accuracy_test"] > best.get(row["device"], -1.0)
        best[row["device"]] = max(best.get(row["device"], -1.0), row["accuracy_test"])
        names = ("device", "network", "subject", "precision", "p50_ms", "p99_ms", "accuracy_test")
        ranked.append({**{name: row[name] for name in names}, "front": "on it" if is_front else ""})
    return ranked


def _front_table(front: Sequence[StudyRow]) -> list[StudyTable]:
    if len({row["network"] for row in front}) < 2:
        return []
    headings = {"network": "network", "subject": "subject", "precision": "computes in", "p50_ms": "p50 ms"}
    headings |= {"p99_ms": "p99 ms", "accuracy_test": "test", "front": "front"}
    caption = (
        "Which network to deploy: one picture at a time, the fastest first; on the front nothing is both faster and "
    )
    return [StudyTable("pareto", f"{caption}more accurate.", headings, front, is_detail=True)]


def _deployed(front: Sequence[StudyRow]) -> list[str]:
    """What to deploy at 30 frames a second, on each device; of one network alone there is nothing to choose."""
    if len({row["network"] for row in front}) < 2:
        return []
    said = []
    for device in dict.fromkeys(row["device"] for row in front):
        fitting = [row for row in front if row["device"] == device and row["p99_ms"] <= FRAME_MS]
        if not fitting:
            said.append(
                f"On the {device.upper()} nothing answers 99 % of pictures within {FRAME_MS:.1f} ms (30 a second)."
            )
            continue
        best = max(fitting, key=lambda row: (row["accuracy_test"], -row["p50_ms"]))
        said.append(
            f"On the {device.upper()} at 30 frames a second, one picture each: {best['network']} in {best['subject']} "
            f"is the most accurate ({percent(best['accuracy_test'])}), p99 {best['p99_ms']:.3g} ms."
        )
    return said


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


class _Proof(NamedTuple):
    """What one trial that computes in float32 shows."""

    subject: str
    check: Check
    answers: Answers


def _equality(trials: Iterable[StoredTrial]) -> list[str]:
    """Whether what computes in float32 gives the same answers: a sentence for each network."""
    said = []
    for network, jobs in grouped(ok(trials), lambda job: job.trial.cell.network).items():
        proofs = [
            _Proof(job.trial.subject, job.timeline.check, job.timeline.answers)
            for job in jobs
            if precision_of(job) == FLOAT32 and job.timeline.check and job.timeline.answers
        ]
        if proofs:
            said.append(f"{network}: {_equal(proofs)}.")
    return said


def _equal(proofs: Sequence[_Proof]) -> str:
    subjects = list(dict.fromkeys(proof.subject for proof in proofs))
    off = max(proof.check.figures.get("logits") or 0.0 for proof in proofs)
    pictures = max(len(proof.answers.classes) for proof in proofs)
    ties: dict[int, str] = {}
    others: dict[int, str] = {}
    for proof in proofs:
        tie = 2 * (proof.check.bounds.get("logits") or 0.0)  # each of the two logits may be off by the bound
        for picture, _, _, margin in proof.answers.differing:
            if margin <= tie:
                ties[picture] = tiny(margin)
            else:
                others[picture] = proof.subject
    who = f"{len(subjects)} subjects compute" if len(subjects) > 1 else f"{subjects[0]} computes"
    text = f"{who} in float32, with the oracle's logits to within {tiny(off)} and its class for all {pictures:,} test "
    text += "pictures"
    if ties:
        text += f" but for near ties: {_named(ties)}"
    if others:
        text += f" but for {len(others)} that are no ties: {_named(others)}"
    return text


def _named(pictures: Mapping[int, str]) -> str:
    """The first five of them."""
    return ", ".join(f"picture {number} ({what})" for number, what in sorted(pictures.items())[:5])


def _lower(rows: Iterable[StudyRow]) -> list[str]:
    """What leaves float32: a sentence for each subject and network."""
    first_rows: dict[tuple[str, str], StudyRow] = {}
    for row in rows:
        if row.get("precision", FLOAT32) != FLOAT32:
            first_rows.setdefault((row["subject"], row["cell"].split()[0]), row)
    said = []
    for (subject, network), row in first_rows.items():
        text = f"{network}: {subject} computes in {row['precision']}, and its logits are off by {row['logits_off']}; "
        text += "it is no equal of float32 and stands in no order with it."
        said.append(f"{text} {_kept(row)}".rstrip())
    return said


def _kept(row: StudyRow) -> str:
    """What int8 keeps of the accuracy, and whether that is enough; a trial that shows too little has failed."""
    share, low, high = row.get("share_kept"), row.get("share_kept_low"), row.get("share_kept_high")
    if row["precision"] != INT8 or share is None or low is None or high is None:
        return ""
    asked = f"the {KEPT:.0%} that are asked for"
    enough = asked if low >= KEPT else f"whether it is {KEPT:.0%} is not decided by so many pictures"
    text = f"It keeps {share:.1%} of float32's accuracy [{low:.1%}, {high:.1%}]: {enough}."
    return text.replace("%", " %")
