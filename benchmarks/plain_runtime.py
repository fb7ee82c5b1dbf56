"""The plainest script of each runtime: read the network from its file, run one picture again and again.

python plain_runtime.py write RUNTIME WEIGHTS MODEL SIZE FOLDER      with waymark's workers on the path: makes the files
python plain_runtime.py RUNTIME MODEL FOLDER THREADS SECONDS         without: prints the median latency as JSON

WEIGHTS: a weights.npz of waymark. MODEL: resnet20 or idsia. JAX has no file: its networks are written out below.
"""

import json
import pathlib
import sys
import time

import numpy as np


def onnxruntime(folder, model, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(f"{folder}/net.onnx", options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"pictures": x})[0]


def openvino(folder, model, threads):
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.compile_model(f"{folder}/net.onnx", "CPU", settings)
    return lambda x: compiled(x)[0]


def opencv(folder, model, threads):
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(f"{folder}/net.onnx")

    def run(x):
        net.setInput(x)
        return net.forward()

    return run


def litert(folder, model, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=f"{folder}/model.tflite", num_threads=threads)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(x):
        interpreter.set_tensor(source, x)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    return run


def ncnn(folder, model, threads):
    import ncnn as library

    net = library.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(f"{folder}/model.param")
    net.load_model(f"{folder}/model.bin")

    def run(x):
        extractor = net.create_extractor()
        extractor.input("pictures", x)
        return np.array(extractor.extract("logits")[1])

    return run


def jax(folder, model, threads):
    import jax as library
    import jax.numpy as jnp
    from jax import lax

    with np.load(f"{folder}/weights.npz") as arrays:
        w = {name: jnp.asarray(arrays[name]) for name in arrays.files}

    def conv(x, at, stride=1, padding=0):
        sides = ((padding, padding), (padding, padding))
        y = lax.conv_general_dilated(x, w[f"conv{at}.weight"], (stride, stride), sides, precision="highest")
        return y + w[f"conv{at}.bias"][:, None, None] if f"conv{at}.bias" in w else y

    def norm(x, at):
        scale = w[f"batchnorm{at}.gamma"] / jnp.sqrt(w[f"batchnorm{at}.var"] + 1e-5)
        return x * scale[:, None, None] + (w[f"batchnorm{at}.beta"] - w[f"batchnorm{at}.mean"] * scale)[:, None, None]

    def dense(x, at):
        return jnp.dot(x, w[f"dense{at}.weight"].T, precision="highest") + w[f"dense{at}.bias"]

    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def idsia(x):
        for at in (1, 2, 3):
            x = pool(jnp.maximum(conv(x, at), 0))
        return dense(jnp.maximum(dense(x.reshape(len(x), -1), 1), 0), 2)

    def resnet20(x):
        x, at = jnp.maximum(norm(conv(x, 1, 1, 1), 1), 0), 2
        for stage in range(3):
            for block in range(3):
                turns = stage > 0 and block == 0
                main = jnp.maximum(norm(conv(x, at, 2 if turns else 1, 1), at), 0)
                main, side, at = norm(conv(main, at + 1, 1, 1), at + 1), x, at + 2
                if turns:
                    side, at = norm(conv(x, at, 2, 0), at), at + 1
                x = jnp.maximum(main + side, 0)
        return dense(x.mean((2, 3)), 1)

    run = library.jit({"idsia": idsia, "resnet20": resnet20}[model])
    return lambda x: np.asarray(run(x))


def write(runtime, weights, ops, folder):
    """Make the files that the runtime reads. ops: file with the network's, as JSON."""
    from workers.net import Net

    net = Net.of(json.loads(pathlib.Path(ops).read_text(encoding="utf-8")))
    arrays = net.read(weights)
    if runtime in ("onnxruntime", "openvino", "opencv"):
        import onnx

        from workers import onnx_model

        onnx.save(onnx_model.build(net, arrays, 1), f"{folder}/net.onnx")
    elif runtime == "jax":
        np.savez(f"{folder}/weights.npz", **arrays)
    else:
        import importlib

        importlib.import_module(f"workers.frameworks.{runtime}.adapter").Adapter.export(net, arrays, folder)


def main(runtime, model, folder, threads, seconds):
    """Print the median seconds of one picture after a tenth of the time as warm-up."""
    run = {
        "onnxruntime": onnxruntime,
        "openvino": openvino,
        "opencv": opencv,
        "litert": litert,
        "ncnn": ncnn,
        "jax": jax,
    }[runtime](folder, model, threads)
    x = np.random.RandomState(0).rand(1, 3, *[48 if model == "idsia" else 32] * 2).astype(np.float32)
    if runtime == "litert":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    if runtime == "ncnn":
        import ncnn as library

        x = library.Mat(x[0]).clone()
    end = time.perf_counter() + seconds / 10
    while time.perf_counter() < end:
        run(x)
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        run(x)
        taken.append(time.perf_counter() - began)
    sys.stdout.write(json.dumps({"seconds": float(np.median(taken)), "queries": len(taken)}) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:6])
    else:
        main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
