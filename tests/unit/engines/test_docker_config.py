"""Odd entries of a user's Docker configuration, each one sentence that names file and entry."""

import json

import pytest

from orchestrator.engines.docker import Daemon
from orchestrator.engines.docker_config import fault, missing_helper
from orchestrator.errors import EngineError

LOGIN = "bmFtZTpwYXNzd29yZA=="  # name:password


@pytest.fixture
def written(tmp_path):
    def write(entries):
        (tmp_path / "config.json").write_text(entries if isinstance(entries, str) else json.dumps(entries))
        return tmp_path / "config.json"

    return write


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"auths": {"r": {"auth": "not-base64!"}}}, "auths.r.auth is not base64 of name:password"),
        ({"auths": {"r": "x"}}, "auths.r is no object"),
        ({"auths": []}, "auths is []; it must be an object"),
        ({"proxies": {"default": "http://p"}}, 'proxies.default is "http://p"; it must be an object such as'),
        ({"credsStore": 3}, "credsStore is no text"),
    ],
)
def test_an_entry_that_the_sdk_cannot_read_is_named(written, entries, says):
    path = written(entries)
    assert fault(path).startswith(f"{path}: {says}")


@pytest.mark.parametrize(
    "entries", [{}, {"auths": {"r": {"auth": LOGIN}, "s": {}}}, {"proxies": {"default": {}}}, "{", "[]"]
)
def test_what_the_sdk_reads_or_passes_over_is_no_fault(written, entries):
    assert fault(written(entries)) == ""


def test_no_file_is_no_fault(tmp_path):
    assert (fault(tmp_path / "none"), missing_helper(tmp_path / "none")) == ("", "")


@pytest.mark.parametrize(
    ("entries", "entry"),
    [({"credsStore": "nowhere"}, "credsStore"), ({"credHelpers": {"gcr.io": "nowhere"}}, "credHelpers.gcr.io")],
)
def test_a_helper_that_is_not_installed_is_named(written, entries, entry):
    assert f"{entry} is 'nowhere', and there is no program docker-credential-nowhere" in missing_helper(
        written(entries)
    )


@pytest.mark.parametrize("address", ["tcp://ada:SECRET@127.0.0.1:9", "http://SECRET@127.0.0.1:9"])
def test_the_password_of_a_daemon_is_not_shown(monkeypatch, address):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(EngineError, match=r"does not answer at (tcp|http)://127\.0\.0\.1:9\.") as caught:
        Daemon()
    assert "SECRET" not in str(caught.value)
