"""What reports read of a job's events, packed; jobs of before have none, and their events are read instead."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """The column."""
    op.add_column("jobs", sa.Column("timeline", sa.LargeBinary, nullable=True))


def downgrade() -> None:
    """Without it."""
    op.drop_column("jobs", "timeline")
