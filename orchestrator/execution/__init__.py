"""Runs what was planned: the life cycle of a run, its environments, selfchecks and jobs."""
