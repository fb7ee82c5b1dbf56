"""Running variances of batch normalisation, as frameworks define them.

Most take the variance of a batch over n - 1 values (PyTorch, TensorFlow, CNTK), as the oracle does; MXNet and Neon take
it over n. Where a map is small and the batch too, the two are not equal: 1.6 % apart with 64 values.
"""


def over_n(net, start, averages, batch_size, steps=1):
    """The running averages with variances over n values, from those with n - 1.

    start: name -> array before these steps. averages: after them, which all had batches of this size.
    """
    expected = dict(averages)
    for op in net.ops:
        if op.kind == "batchnorm":
            name, (_, height, width) = op.name + ".var", net.shapes[op.name]
            values = batch_size * height * width
            kept = op.params["kept"] ** steps * start[name]
            expected[name] = kept + (averages[name] - kept) * (values - 1) / values
    return expected
