"""What the machine did while a trial ran: the text of its telemetry.jsonl."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """One more column; nobody watched the trials that are there."""
    op.add_column("jobs", sa.Column("telemetry_jsonl", sa.Text))


def downgrade() -> None:
    """Forget the telemetry; the job folders keep it."""
    op.drop_column("jobs", "telemetry_jsonl")
