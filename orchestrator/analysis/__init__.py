"""Numbers from records: statistics, comparisons, reproducibility, utilisation. Pure."""
