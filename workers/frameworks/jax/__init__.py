"""JAX: trains and runs networks as functions that XLA compiles."""
