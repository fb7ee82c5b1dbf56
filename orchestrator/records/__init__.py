"""What a run leaves: jobs, events, samples and folders; and the store, an index over them."""
