"""Running what was planned: one life cycle of a run, its environments, selfchecks and jobs."""
