"""OpenVINO: runs trained networks."""
