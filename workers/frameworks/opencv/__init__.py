"""OpenCV's DNN module: runs trained networks."""
