"""The folders in which waymark keeps prepared data, virtualenvs, worker snapshots, runs and the store.

One folder, `$WAYMARK_HOME` or the platform's data folder for the user; shared by all clones, so a second clone finds
the data and the environments of the first.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

REPOSITORY = Path(__file__).resolve().parent.parent


def expanded(text: str) -> Path:
    """The path, its ~ replaced by the user's folder: no shell does that in a .env file, or after `--from=`."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own raises for a user that is not there


def default_reports() -> Path:
    """`$WAYMARK_REPORTS`, else reports/ of the clone."""
    named = os.environ.get("WAYMARK_REPORTS")
    return expanded(named).absolute() if named else REPOSITORY / "reports"


@dataclass(frozen=True)
class Home:
    """The folders below one root; each is made on first use by its owner."""

    root: Path

    @classmethod
    def default(cls) -> "Home":
        """`$WAYMARK_HOME`, else the platform's user data folder."""
        named = os.environ.get("WAYMARK_HOME")
        return cls(expanded(named).absolute() if named else platformdirs.user_data_path("waymark"))

    @property
    def data(self) -> Path:
        """Prepared arrays, content-addressed."""
        return self.root / "data"

    @property
    def virtualenvs(self) -> Path:
        """One virtualenv per recipe, content-addressed."""
        return self.root / "virtualenvs"

    @property
    def sources(self) -> Path:
        """Upstream sources of frameworks that are on no package index, one folder per commit."""
        return self.root / "sources"

    @property
    def workers(self) -> Path:
        """Snapshots of the worker source, content-addressed, so that an edit does not change a run that is going on."""
        return self.root / "workers"

    @property
    def references(self) -> Path:
        """The oracle's traces, by the worker code that made them: `references/<hash>/<network>.npz`."""
        return self.root / "references"

    @property
    def starts(self) -> Path:
        """First weights that files of networks brought, `starts/<hash>.npz`."""
        return self.root / "starts"

    @property
    def runs(self) -> Path:
        """`runs/<run>/<job>/`: the record; not changed once a job has ended."""
        return self.root / "runs"

    @property
    def published(self) -> Path:
        """`published/<run>/`: runs of others, laid out as a home is; they stay apart from the runs of this one."""
        return self.root / "published"

    @property
    def images(self) -> Path:
        """An empty file for each image that this home built or took over, named by the image's id."""
        return self.root / "images"

    @property
    def submissions(self) -> Path:
        """`submissions/<id>/`: what was sent to a cluster."""
        return self.root / "submissions"

    @property
    def locks(self) -> Path:
        """`locks/<boot>/`: of each machine that uses this home."""
        return self.root / "locks"

    @property
    def settings(self) -> Path:
        """What the user set: the table `[slurm]`."""
        return self.root / "waymark.toml"

    @property
    def logs(self) -> Path:
        """One log per image or virtualenv build."""
        return self.root / "logs"

    @property
    def tuned(self) -> Path:
        """What `invoke tune` found, machine by machine."""
        return self.root / "tuned.toml"

    @property
    def limits(self) -> Path:
        """What `invoke limit` measured, machine by machine."""
        return self.root / "limits.toml"

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the index over the runs: `$WAYMARK_STORE`, else a SQLite file."""
        return os.environ.get("WAYMARK_STORE") or f"sqlite:///{self.root / 'store.sqlite'}"
