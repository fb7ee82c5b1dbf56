"""PaddlePaddle: trains and runs networks op by op."""
