"""What a run leaves: jobs, events, samples, folders; and the store, an index over them."""
