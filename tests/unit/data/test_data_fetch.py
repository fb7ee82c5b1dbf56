import contextlib
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from orchestrator import data
from orchestrator.data.source import Publication, Published
from orchestrator.errors import DataError

CONTENT = {"one.zip": b"1" * 700_000, "two.zip": b"2" * 300}


@pytest.fixture
def http():
    """A server of `CONTENT`: its `sent` lists what was asked for, `replies` overrides (declared size, bytes sent)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            http.sent.append(name)
            declared, content = http.replies.get(name, (len(CONTENT[name]), CONTENT[name]))
            self.send_response(200)
            self.send_header("Content-Length", str(declared))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # a client that has had enough
                self.wfile.write(content)

        def log_message(self, *args):
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.sent, http.replies = [], {}
        thread = threading.Thread(target=lambda: http.serve_forever(poll_interval=0.01))
        thread.start()
        yield http
        http.shutdown()
        thread.join()


@pytest.fixture
def download(http, home):
    """Function: download from the server; the lines it said are in `download.said`."""
    archives = {name: Published(hashlib.md5(content).hexdigest(), len(content)) for name, content in CONTENT.items()}
    server = Publication(f"http://127.0.0.1:{http.server_port}/", archives)

    def download():
        return data.download("gtsrb", server, home, download.said.append)

    download.said = []
    return download


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_archives_arrive_whole(download):
    folder = download()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_what_is_there_is_not_fetched_again(download, http):
    download()
    http.sent.clear()
    download()
    assert http.sent == []


def test_only_what_is_not_whole_is_fetched_again(download, http):
    (download() / "one.zip").write_bytes(b"1" * 70)
    http.sent.clear()
    folder = download()
    assert http.sent == ["one.zip"]
    assert (folder / "one.zip").read_bytes() == CONTENT["one.zip"]


def test_progress_is_told_in_megabytes(download):
    download()
    assert "one.zip: 0.7 of 0.7 MB" in download.said


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((300, b"x" * 300), "md5"),
        ((300, b"2" * 100), "Incomplete|Connection broken"),
        ((9_000_000, b"2" * 9_000_000), "more than the 300 bytes"),
    ],
)
def test_wrong_archive_gets_no_name(download, http, home, reply, why):
    http.replies["two.zip"] = reply
    with pytest.raises(DataError, match=why):
        download()
    assert names(home.data / "archives") == ["one.zip"]


def test_silent_server_is_named(home):
    nowhere = Publication("http://127.0.0.1:9/", {"one.zip": Published("0" * 32, 1)})
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/one.zip could not be fetched.*`invoke data --from PATH`"):
        data.download("gtsrb", nowhere, home, lambda line: None)
