"""The status `environment` is called `misconfigured`: an environment is what a trial runs in."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_jobs = sa.table("jobs", sa.column("status", sa.String))


def upgrade() -> None:
    """Rename it in the column; the texts of outcome.json stay as written, and are read by both names."""
    op.execute(sa.update(_jobs).where(_jobs.c.status == "environment").values(status="misconfigured"))


def downgrade() -> None:
    """The old word."""
    op.execute(sa.update(_jobs).where(_jobs.c.status == "misconfigured").values(status="environment"))
