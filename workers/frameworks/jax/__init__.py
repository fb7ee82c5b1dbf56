"""JAX: runs trained networks."""
