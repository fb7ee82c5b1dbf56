"""The schema of the store, revision by revision, and the database that is brought to the newest one."""
