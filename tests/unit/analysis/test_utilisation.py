"""What is sampled while a trial runs, how it is kept, and what it comes to."""

import time

import pytest

from orchestrator.analysis.utilisation import (
    Utilisation,
    epoch_joules,
    foreign_percent,
    thinned,
    throttled,
    utilisation,
)
from orchestrator.host import Telemetry, telemetry
from orchestrator.host.card import read_cards
from orchestrator.host.telemetry import Sampler
from orchestrator.records.run_folder import JobFolder
from orchestrator.records.sample import CardSample, Sample, read_samples
from orchestrator.records.timeline import read_timeline
from tests import fake_run as fake


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A processor package's energy counter; call it with microjoules to set it."""
    folder = tmp_path / "intel-rapl:0"
    folder.mkdir()
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text("1000000\n")
    monkeypatch.setattr(telemetry, "POWERCAP", tmp_path)

    def count(microjoules):
        (folder / "energy_uj").write_text(f"{microjoules}\n")

    count(900_000)
    return count


def test_a_busy_second_is_seen_on_the_processors_of_the_trial():
    sampler = Sampler((0,), None)
    first = sampler.read()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        sum(range(1000))
    second = sampler.read()
    assert (first.cpu_percent, first.steal_percent) == (None, None)
    assert 0 <= second.cpu_percent <= 100
    assert second.memory_bytes > 0
    assert second.unix > first.unix


@pytest.mark.parametrize(("busy", "percent"), [(1.5, 50.0), (2.0 + 1e-9, 100.0), (1.0 - 1e-9, 0.0)])
def test_a_share_of_time_is_between_nothing_and_all(busy, percent, monkeypatch):
    times = iter([(1.0, 0.0, 1.0), (busy, 0.0, 2.0)])
    monkeypatch.setattr(Sampler, "_times", lambda self: next(times))
    sampler = Sampler((0,), None)
    sampler.read()
    assert sampler.read().cpu_percent == percent


def test_energy_is_right_when_the_kernels_counter_wraps(package):
    sampler = Sampler((), None)
    read = []
    for microjoules in (900_000, 950_000, 50_000):
        package(microjoules)
        read.append(sampler.read().cpu_joules)
    assert read == pytest.approx([0.0, 0.05, 0.15])


def test_a_kernel_that_does_not_tell_leaves_energy_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(telemetry, "POWERCAP", tmp_path)
    assert Sampler((), None).read().cpu_joules is None


def test_a_trial_on_a_card_samples_the_card_too(nvml):
    nvml("h100")
    sampler = Sampler((), read_cards()[0][0])
    assert sampler.read().card.watts == 69.12


def test_a_trial_on_the_processors_asks_no_card(nvml):
    fake = nvml("h100")
    assert Sampler((), None).read().card is None
    assert fake.opened == 0


def test_a_second_is_one_line_however_often_the_engine_ticks(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: now[0])
    folder = JobFolder(tmp_path)
    with Telemetry(tmp_path / "telemetry.jsonl", (), None) as watch:
        for _ in range(31):
            watch.tick()
            now[0] += 0.125
        assert len(folder.samples()) == 4
    assert len(folder.samples()) == 5  # one more at the end


def test_the_library_of_the_card_is_closed_after_the_trial(nvml, tmp_path):
    fake = nvml("h100")
    with Telemetry(tmp_path / "telemetry.jsonl", (), read_cards()[0][0]) as watch:
        watch.tick()
        assert fake.opened == 1
    assert fake.opened == 0


def test_a_file_that_the_worker_puts_in_place_is_not_written(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    path = tmp_path / "telemetry.jsonl"
    with Telemetry(path, (), None) as watch:
        watch.tick()
        path.unlink()
        path.symlink_to(precious)
    assert precious.read_text() == "mine"


def test_samples_are_read_as_written_and_torn_lines_left_out():
    whole = Sample(unix=1.5, cpu_percent=50.0, memory_bytes=7, card=CardSample(watts=70.0, throttled=("sync boost",)))
    text = whole.model_dump_json() + '\n{"unix": 2.5, "mem\nstray\n{"unix": 3.5}\n'
    assert read_samples(text) == (whole,)


def test_a_job_that_nobody_watched_has_no_samples(tmp_path):
    assert JobFolder(tmp_path).samples() == ()


BEGAN = 1_000.0


def timeline(epochs=3, seconds=10.0, pause=2.0):
    """A worker that began at BEGAN and trains that long, with a pause between two epochs."""
    ends = [20.0 + epoch * (seconds + pause) + seconds for epoch in range(epochs)]
    said = [
        ("hello", 1.0, {"python": "3", "framework": "f", "version": "1", "import_seconds": 1, "started_unix": BEGAN})
    ]
    said += [("epoch", end, {"epoch": at, "epoch_seconds": seconds}) for at, end in enumerate(ends)]
    return read_timeline(
        [fake.Event(v=1, seq=seq, t=t, kind=kind, **fields) for seq, (kind, t, fields) in enumerate(said)]
    )


def samples(watts=100.0, until=60, counter=True, **changes):
    """A sample a second; a card that takes `watts` evenly."""
    return [
        Sample(
            unix=BEGAN + second,
            cpu_percent=90.0 if second >= 20 else 10.0,
            steal_percent=0.0,
            memory_bytes=2**30 * (1 + second // 30),
            card=CardSample(watts=watts, joules=5_000 + watts * second if counter else None, **changes),
        )
        for second in range(until)
    ]


def test_an_epochs_energy_is_its_power_times_its_time():
    assert utilisation(samples(watts=150.0), timeline()).card_joules == pytest.approx(1500.0)


def test_a_card_without_counter_has_its_power_summed_up():
    assert utilisation(samples(watts=150.0, counter=False), timeline()).card_joules == pytest.approx(1500.0)


def test_the_energy_of_an_epoch_is_interpolated_between_samples():
    assert utilisation(samples(watts=80.0), timeline(seconds=3.25, pause=0.5)).card_joules == pytest.approx(260.0)


def test_the_first_epoch_does_not_count_where_there_is_another():
    def watts(second):
        return 400.0 if 20 <= second <= 30 else 100.0

    seen = [Sample(unix=BEGAN + second, memory_bytes=1, cpu_joules=None) for second in range(60)]
    total, counted = 0.0, []
    for sample in seen:
        total += watts(sample.unix - BEGAN)
        counted.append(sample.model_copy(update={"cpu_joules": total}))
    assert epoch_joules(counted, timeline(epochs=1), lambda sample: sample.cpu_joules) == pytest.approx(4000.0)
    assert epoch_joules(counted, timeline(epochs=3), lambda sample: sample.cpu_joules) == pytest.approx(1000.0)


def test_an_epoch_that_nobody_watched_to_its_end_has_no_energy():
    assert utilisation(samples(until=25), timeline(epochs=1)).card_joules is None


def test_only_what_was_seen_while_it_trained_counts():
    assert utilisation(samples(), timeline()).cpu_percent == 90.0


def test_of_temperature_the_highest_counts():
    assert utilisation(samples(celsius=61), timeline()).card_celsius == 61.0


def test_nothing_watched_is_nothing_known():
    assert utilisation((), timeline()) == Utilisation()


def test_a_worker_without_a_begin_event_gives_no_numbers():
    assert utilisation(samples(), read_timeline(fake.training())) == Utilisation()


def test_what_held_a_clock_down_is_told_with_its_share():
    seen = samples(until=6, throttled=("software power cap",)) + samples(until=2)
    assert throttled(seen) == {"software power cap": 0.75}


def test_a_long_course_is_thinned_to_means_of_neighbours():
    times, values = thinned(samples(until=50), lambda sample: sample.cpu_percent, 25)
    assert len(times) == 25
    assert (times[0], values[0], values[-1]) == (BEGAN + 0.5, 10.0, 90.0)


def test_a_trials_own_processor_time_is_in_its_samples(tmp_path):
    used = iter([1.0, 1.0, 1.5])
    with Telemetry(tmp_path / "telemetry.jsonl", (), None) as watch:
        watch.follow(lambda: next(used))
        watch.tick()
        time.sleep(0.3)
    first, last = read_samples((tmp_path / "telemetry.jsonl").read_text())
    assert first.own_percent is None
    assert 0.0 <= last.own_percent < 50.0  # only what this process itself used


def test_other_work_is_what_the_trial_did_not_use():
    own = [sample.model_copy(update={"own_percent": 75.0}) for sample in samples()]
    assert foreign_percent(own, timeline()) == pytest.approx(15.0)


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_a_short_trial_cannot_tell_of_other_work(seconds):
    own = [sample.model_copy(update={"own_percent": 75.0}) for sample in samples()]
    assert foreign_percent(own, timeline(epochs=1, seconds=seconds)) is None


def test_without_samples_other_work_is_not_known():
    assert foreign_percent(samples(), timeline()) is None
    assert foreign_percent((), timeline()) is None
