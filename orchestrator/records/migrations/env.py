"""Runs migrations on the connection that records/database.py gives; there is no alembic.ini."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    render_as_batch=True,  # SQLite alters a column by copying its table
)
context.run_migrations()
