"""The first schema: runs, their jobs (trials and selfchecks), and what each job's worker said."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the three tables; columns that end in _json hold the text of the file of that name in the run's folder."""
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String, primary_key=True),
        sa.Column("started_unix", sa.Float, nullable=False),
        sa.Column("run_json", sa.Text, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("run_id", sa.String, sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("key", sa.String),
        sa.Column("framework", sa.String, nullable=False),
        sa.Column("variant", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("depth", sa.Integer),
        sa.Column("input_size", sa.Integer, nullable=False),
        sa.Column("device", sa.String, nullable=False),
        sa.Column("seed", sa.BigInteger),
        sa.Column("repeat", sa.Integer),
        sa.Column("environment_identity", sa.String, nullable=False),
        sa.Column("worker_sha256", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("fault", sa.String, nullable=False),
        sa.Column("passed", sa.Boolean),
        sa.Column("record_json", sa.Text, nullable=False),
        sa.Column("exit_json", sa.Text),
        sa.Column("outcome_json", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('trial', 'check')", name="jobs_kind"),
    )
    op.create_index("jobs_by_id", "jobs", ["id"])
    op.create_index("jobs_by_environment", "jobs", ["environment_identity", "worker_sha256"])
    op.create_table(
        "events",
        sa.Column("run_id", sa.String, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("event_json", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id", "ordinal"], ["jobs.run_id", "jobs.ordinal"], ondelete="CASCADE"),
    )


def downgrade() -> None:
    """There is nothing before the first schema."""
    for table in ("events", "jobs", "runs"):
        op.drop_table(table)
