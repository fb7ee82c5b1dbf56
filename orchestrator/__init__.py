"""waymark's orchestrator: one spec becomes trials, trials become events, events become a report."""
