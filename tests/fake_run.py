"""A run that never ran: records, events and folders for tests of the store and of the report."""

from pathlib import Path

from orchestrator.dataset import Dataset
from orchestrator.environment import Environment
from orchestrator.files import write_atomically
from orchestrator.networks import InputSize, Model, Network
from orchestrator.records.event import Event
from orchestrator.records.host_facts import Load, RecordedHost
from orchestrator.records.job import CheckRequest
from orchestrator.records.run_folder import RUN, DataFacts, JobFolder, Record, RunFacts
from orchestrator.records.sample import CardSample, Sample
from orchestrator.trial import Exit, Inference, Measure, Outcome, Training, Trial

OK = Outcome(status="ok", fault="none")
CRASHED = Outcome(status="crashed", fault="unknown", reason="ended with exit code 1 after 'built'\0")
ENDED = Exit(code=0, launched_unix=1_700_000_000.0, wall_seconds=62.0, started_seconds=0.4, log_tail="")
FIGURES = {"logits": 2.1e-6, "loss_step_1": 3.0e-8, "loss_step_20": 1.2e-4, "study_loss_step_5": 2.4e-4}
BOUNDS = {"logits": 1e-4, "loss_step_1": 1e-5, "loss_step_20": 1e-3, "study_loss_step_5": 1e-3}
SAMPLES = (
    Sample(unix=1.0, memory_bytes=2**30),
    Sample(
        unix=2.0, cpu_percent=99.5, steal_percent=0.5, memory_bytes=2**30, cpu_joules=65.0, card=CardSample(watts=70.0)
    ),
)
RESNET, IDSIA = Model(name="resnet", depth=20), Model(name="idsia")


def load(**changes):
    """An idle moment of that machine."""
    return Load(**{"load_1min": 0.1, "steal_percent": 0.0, "available_memory_bytes": 2**33, **changes})


def host(**changes):
    """The machine of a run: two cores, nobody else on it."""
    facts = {"hostname_sha256": "ab", "system": "Debian 12", "kernel": "6.1", "machine": "x86_64", "python": "3.11.9"}
    facts |= {"cpu_model": "AMD EPYC", "cpu_flags": ("avx2", "fma"), "physical_cores": 2, "logical_cores": 2}
    facts |= {"cpus": (0, 1), "threads_per_core": 1, "numa_nodes": 1, "governor": None, "microcode": None}
    facts |= {"is_virtual": False, "memory_bytes": 2**34, "gpus": (), "gpu_note": "no card", "load": load()}
    return RecordedHost(**{**facts, **changes})


def run_facts(run_id="20261121-120000-quick", **changes):
    facts = {
        "run_id": run_id,
        "started_unix": 1_795_262_400.0,
        "waymark_version": "0.1.0",
        "argv": ("sweep", "--device=cpu"),
        "engine": "docker",
        "spec": {"name": "quick", "training": {"epochs": 2}},
        "host": host(),
    }
    return RunFacts(**{**facts, **changes})


def environment(framework="pytorch", variant="2.13", **changes):
    facts = {
        "engine": "docker",
        "framework": framework,
        "variant": variant,
        "device": "cpu",
        "identity": f"sha256:{framework}-{variant}",
        "location": f"waymark/{framework}:{variant}-cpu",
        "python": "3.11.9",
        "freeze": ("numpy==2.4.6", f"{framework}=={variant}"),
        "env": {"OMP_NUM_THREADS": "2"},
    }
    return Environment(**{**facts, **changes})


def trial(framework="pytorch", variant="2.13", model=RESNET, input_size=32, seed=0, repeat=0, **changes):
    facts = {"device": "cpu", "dataset": Dataset(), "training": Training(epochs=2), "measure": Measure(), "threads": 2}
    return Trial(
        **{
            **facts,
            **{"framework": framework, "variant": variant, "model": model, "input_size": input_size},
            **{"seed": seed, "repeat": repeat},
            **changes,
        }
    )


def data_facts(**changes):
    facts = {
        "sha256": "d" * 64,
        "recognised": "official",
        "train_pictures": 31_367,
        "valid_pictures": 7_842,
        "test_pictures": 12_630,
        "split_note": "frames of one sign are in both training and validation pictures",
    }
    return DataFacts(**{**facts, **changes})


def trial_record(asked=None, ordinal=1, run_id="20261121-120000-quick", **changes):
    asked = asked or trial()
    facts = {
        "run_id": run_id,
        "ordinal": ordinal,
        "id": f"id-{ordinal}",
        "worker_sha256": "w" * 64,
        "environment": environment(asked.framework, asked.variant),
        "trial": asked,
        "data": data_facts(),
    }
    return Record(**{**facts, **changes})


def check_record(
    framework="pytorch", variant="2.13", model=RESNET, ordinal=90, run_id="20261121-120000-quick", **changes
):
    input_size = InputSize.of(changes.pop("input_size", 32))
    request = CheckRequest(
        framework=framework,
        variant=variant,
        model=model,
        input_size=input_size,
        network_sha256=changes.pop("network_sha256", None) or Network.of(model, input_size, 43).sha256,
        device="cpu",
        threads=changes.pop("threads", 2),
        **{name: changes.pop(name) for name in ("batch_size", "steps") if name in changes},
    )
    facts = {
        "run_id": run_id,
        "ordinal": ordinal,
        "id": f"check-{ordinal}",
        "worker_sha256": "w" * 64,
        "environment": environment(framework, variant),
        "check": request,
    }
    return Record(**{**facts, **changes})


def events(*said):
    """Events from (kind, fields) pairs, a second apart."""
    return [Event(v=1, seq=seq, t=float(seq), kind=kind, **fields) for seq, (kind, fields) in enumerate(said)]


def training(step_seconds=0.1, epochs=2, steps=30, warmup=20, accuracy=0.9, framework="pytorch", version="2.13.0"):
    """What a worker says that trains for `epochs` of `steps` equal steps."""
    said = [
        (
            "hello",
            {
                "python": "3.11.9",
                "framework": framework,
                "version": version,
                "import_seconds": 1.5,
                "describe": {"mkldnn": True},
            },
        ),
        ("built", {"weights": 272_000, "multiply_adds": 40_000_000, "build_seconds": 0.2, "data_seconds": 0.01}),
        ("training", {}),
    ]
    for epoch in range(epochs):
        said += [
            ("progress", {"epoch": epoch, "step": 1, "steps": steps}),
            (
                "epoch",
                {
                    "epoch": epoch,
                    "step_seconds": [step_seconds] * steps,
                    "input_seconds": [0.001] * steps,
                    "loss": [3.0] * steps,
                    "epoch_seconds": (step_seconds + 0.001) * steps,
                    "warmup_steps": 0 if epoch else warmup,
                },
            ),
            ("score", score("valid", epoch, accuracy - 0.1 * (epochs - 1 - epoch))),
        ]
    said += [
        ("score", score("test", epochs - 1, accuracy - 0.01)),
        ("done", {"weights_sha256": "f" * 64, "total_seconds": 60.0}),
    ]
    return events(*said)


def inference(scenario="single-stream", batch_size=1, **changes):
    """What a trained network is asked."""
    facts = {"scenario": scenario, "batch_size": batch_size, "seconds": 5.0, "warmup_seconds": 1.0}
    return Inference(**{**facts, "bound_seconds": 0.015, "weights_sha256": "f" * 64, **changes})


def answering(seconds=0.002, queries=700, precision=None, off=4e-7, differing=(), accuracy=0.9, **changes):
    """What a worker says that runs a trained network. changes: fields of `queries`."""
    describe = {} if precision is None else {"precision": precision}
    said = {"latency_seconds": [seconds] * queries, "wall_seconds": seconds * queries, "warmup_queries": 50}
    right = precision in (None, "float32") and off <= 1e-4
    return events(
        ("hello", {"python": "3.11.9", "framework": "any", "version": "1", "import_seconds": 0.5, "describe": {}}),
        (
            "built",
            {
                "weights": 272_000,
                "multiply_adds": 40_000_000,
                "build_seconds": 0.2,
                "data_seconds": 0.01,
                "describe": describe,
            },
        ),
        ("check", {"figures": {"logits": off}, "bounds": {"logits": 1e-4}, "passed": right}),
        ("queries", {**said, **changes}),
        ("score", score("test", 0, accuracy)),
        ("answers", {"classes": [1] * 822, "differing": list(differing), "kept": [0.995, 0.985, 1.002]}),
        ("done", {"weights_sha256": "f" * 64, "total_seconds": 9.0}),
    )


def score(split, epoch, accuracy):
    return {"split": split, "epoch": epoch, "accuracy": accuracy, "loss": 0.5, "pictures": 822, "evaluate_seconds": 1.5}


def checking(passed=True, **figures):
    """What a selfcheck says."""
    return events(
        (
            "hello",
            {"python": "3.11.9", "framework": "pytorch", "version": "2.13.0", "import_seconds": 1.5, "describe": {}},
        ),
        ("check", {"figures": {**FIGURES, **figures}, "bounds": BOUNDS, "passed": passed}),
        ("done", {"weights_sha256": None, "total_seconds": 9.0}),
    )


def write_run(runs: Path, facts, jobs):
    """The folder of a run as a sweep leaves it. jobs: (record, exit, outcome, events) each; None leaves a file out."""
    folder = runs / facts.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RUN, facts.model_dump_json())
    for record, exit_, outcome, said in jobs:
        job = JobFolder(folder / f"{record.ordinal:04d}-job")
        job.path.mkdir(exist_ok=True)
        job.write("record.json", record)
        if exit_ is not None:
            job.write("exit.json", exit_)
        if outcome is not None:
            job.write("outcome.json", outcome)
        (job.path / "events.jsonl").write_text("".join(event.model_dump_json() + "\n" for event in said))
    return folder


def add_all(store, facts, jobs):
    """Put a run and its (record, exit, outcome, events) into a store."""
    store.add_run(facts)
    for record, exit_, outcome, said in jobs:
        store.add(record, exit_, outcome, said)


def some_jobs(run_id="20261121-120000-quick"):
    """A trial that ended well, one that crashed without an event, and a check."""
    return [
        (trial_record(run_id=run_id), ENDED, OK, training()),
        (trial_record(ordinal=2, run_id=run_id), None, CRASHED, []),
        (check_record(run_id=run_id), ENDED, OK, checking()),
    ]
