"""What the machine did while a trial ran: the text of its telemetry.jsonl."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; trials that are already there have no telemetry."""
    op.add_column("jobs", sa.Column("telemetry_jsonl", sa.Text))


def downgrade() -> None:
    """Drop the column; the job folders keep the telemetry."""
    op.drop_column("jobs", "telemetry_jsonl")
