"""The pipes to a worker that answers pictures, and what a worker may have put in their place."""

import os
import threading

import numpy as np
import pytest

from orchestrator.errors import EngineError
from orchestrator.execution import serving
from orchestrator.execution.serving import ANSWERS, QUESTIONS, Served
from workers import protocol

CLASSES = 3
PICTURES = np.zeros((2, 3, 4, 4), np.uint8)


def opened(folder):
    return serving._Pipes.opened(folder, lambda: True)


@pytest.fixture
def folder(tmp_path):
    for pipe in (QUESTIONS, ANSWERS):
        os.mkfifo(tmp_path / pipe)
    return tmp_path


def worker(folder, answer):
    """A thread that reads one question, and writes what `answer` makes of it."""

    def work():
        with (folder / QUESTIONS).open("rb") as questions, (folder / ANSWERS).open("wb") as answers:
            count = protocol.COUNT.unpack(questions.read(protocol.COUNT.size))[0]
            questions.read(count * PICTURES[0].size)
            answers.write(answer(count))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def answered(count):
    return protocol.SECONDS.pack(0.25) + np.arange(count * CLASSES, dtype="<f4").tobytes()


def test_an_answer_is_the_logits_and_the_seconds_they_took(folder):
    thread = worker(folder, answered)
    with opened(folder) as pipes:
        logits, seconds = Served(pipes, CLASSES, {}).ask(PICTURES)
    thread.join()
    assert logits.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert seconds == 0.25


def test_an_answer_that_is_cut_short_is_an_error(folder):
    worker(folder, lambda count: answered(count)[:-4])
    with opened(folder) as pipes, pytest.raises(EngineError, match="ended before it had answered"):
        Served(pipes, CLASSES, {}).ask(PICTURES)


def test_a_worker_that_is_silent_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(serving, "ANSWER_SECONDS", 0.2)
    end = threading.Event()
    worker(folder, lambda count: (end.wait(10), b"")[1])
    with opened(folder) as pipes, pytest.raises(EngineError, match="has not answered for"):
        Served(pipes, CLASSES, {}).ask(PICTURES)
    end.set()


def test_a_worker_that_takes_no_questions_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(serving, "ANSWER_SECONDS", 0.1)
    with pytest.raises(EngineError, match="does not take questions"), opened(folder):
        pass


@pytest.mark.parametrize("pipe", [QUESTIONS, ANSWERS])
def test_a_link_in_the_place_of_a_pipe_is_not_followed(folder, tmp_path_factory, pipe):
    target = tmp_path_factory.mktemp("elsewhere") / "secret"
    target.write_text("kept")
    (folder / pipe).unlink()
    (folder / pipe).symlink_to(target)
    threading.Thread(target=lambda: os.open(folder / QUESTIONS, os.O_RDONLY | os.O_NONBLOCK), daemon=True).start()
    with pytest.raises(EngineError), opened(folder):
        pass
    assert target.read_text() == "kept"


def test_a_file_in_the_place_of_a_pipe_is_refused(folder):
    (folder / ANSWERS).unlink()
    (folder / ANSWERS).write_bytes(b"x" * 100)
    with pytest.raises(EngineError, match=r"something else in the place of answers\.fifo"), opened(folder):
        pass


def test_a_worker_that_has_ended_is_not_waited_for(folder):
    with pytest.raises(EngineError, match="does not take questions"), serving._Pipes.opened(folder, lambda: False):
        pass
