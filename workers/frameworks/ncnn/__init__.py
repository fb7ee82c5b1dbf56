"""ncnn: runs trained networks."""
