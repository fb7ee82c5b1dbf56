"""A static package index on the loopback, and wheels of one line to lay in it."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote


@dataclass
class FakeIndex:
    """asked: the paths of all requests so far."""

    url: str
    folder: Path
    asked: list[str] = field(default_factory=list)

    def add(self, name: str, version: str, text: str = "") -> str:
        """Publish a wheel whose module holds `text`; its sha256."""
        page = self.folder / name
        page.mkdir(exist_ok=True)
        wheel = page / f"{name}-{version}-py3-none-any.whl"
        about = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": text,
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
            archive.writestr(f"{about}/RECORD", "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD")))
        (page / "index.html").write_text(f'<!DOCTYPE html><a href="{quote(wheel.name)}">{wheel.name}</a>')
        return hashlib.sha256(wheel.read_bytes()).hexdigest()


@contextmanager
def serving(folder: Path) -> Iterator[FakeIndex]:
    """An index of what lies in `folder`, for as long as the block lasts."""
    folder.mkdir(exist_ok=True)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            index.asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        index = FakeIndex(f"http://127.0.0.1:{server.server_port}", folder)
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
