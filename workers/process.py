"""One worker process from its arguments to its exit code: what all kinds of job have in common."""

import importlib
import json
import os
import platform
import signal
import sys
import time
import traceback

import workers
from workers import frameworks, native, protocol
from workers.bounds import PRECISIONS
from workers.net import Net, weights_sha256
from workers.protocol import BadJob, Emitter, NoFramework, NotAsDeclared, Unsupported


def clock():
    """Monotonic seconds since this process began to run our code."""
    return time.perf_counter() - workers.BEGAN


class Job(object):
    """The fields of job.json, and how to emit its events.

    kind, framework, device, seed, threads, options, expects, payload: as job.json has them. net: its network.
    precision: the number format that it asks for. emit: emit(kind, **fields).
    folder: the job folder. data_folder: prepared pictures, or None.
    """

    def __init__(self, folder, data_folder, emit):
        self.folder = folder
        self.data_folder = data_folder
        self.emit = emit
        fields = read_job(folder)
        self.kind, self.payload = fields["kind"], fields["payload"]
        self.framework, self.device = fields["framework"], fields["device"]
        self.seed, self.threads = fields["seed"], fields["threads"]
        self.options, self.expects = fields["options"], fields["expects"]
        self.net = read_net(fields["network"])
        self.precision = fields["precision"]
        if self.precision not in PRECISIONS:
            raise BadJob(f"job.json: precision is {self.precision!r}; known: {', '.join(PRECISIONS)}.")

    def import_trainer(self):
        """As import_adapter, of a framework that trains. Raises Unsupported for a runtime."""
        adapter_class = self.import_adapter()
        if not frameworks.trains(adapter_class):
            raise Unsupported("training", f"{self.framework} only runs networks that were trained elsewhere")
        return adapter_class

    def import_adapter(self):
        """The adapter class of the job's framework; emits `hello`. Raises BadJob or NoFramework."""
        name = self.framework
        if name not in frameworks.names():
            raise BadJob(f"job.json: framework is {name!r}; known: {', '.join(frameworks.names())}.")
        began = clock()
        try:
            adapter = importlib.import_module(f"workers.frameworks.{name}.adapter")
        except Exception as error:  # a framework that does not fit its environment can raise anything
            raise NoFramework(f"{name} does not import: {type(error).__name__}: {error}") from error
        self.emit(
            "hello",
            python=platform.python_version(),
            framework=name,
            version=adapter.VERSION,
            started_unix=workers.BEGAN_UNIX,
            import_seconds=clock() - began,
            describe=adapter.Adapter.describe() if frameworks.trains(adapter.Adapter) else native.describe(),
        )
        return adapter.Adapter

    def trained_weights(self, sha256):
        """The weights of start.npz in the job folder. Raises BadJob if they are not its net's, or not those asked for.

        sha256: of weights_sha256.
        """
        try:
            weights = self.net.read(os.path.join(self.folder, "start.npz"))
        except ValueError as error:
            raise BadJob(str(error)) from error
        seen = weights_sha256(weights)
        if seen != sha256:
            raise BadJob(f"start.npz holds the weights {seen[:12]}; this job asks for {sha256[:12]}.")
        return weights

    def say_built(self, describe, build_seconds, data_seconds=0.0, **more):
        """Emit `built`. describe: the adapter's; data_seconds: of opening arrays."""
        sizes = {"weights": self.net.weight_count, "multiply_adds": self.net.multiply_adds}
        seconds = {"build_seconds": build_seconds, "data_seconds": data_seconds}
        self.emit("built", describe=describe, **sizes, **seconds, **more)

    def require_settings(self, describe):
        """Raise NotAsDeclared unless all settings that the environment's row expects are in force.

        describe: the adapter's.
        """
        for name, wanted in sorted(self.expects.items()):
            if name not in describe:
                raise NotAsDeclared(f"its row expects {name} = {wanted!r}, which the worker does not report.")
            if describe[name] != wanted:
                raise NotAsDeclared(f"its row expects {name} = {wanted!r}; in force is {describe[name]!r}.")

    def settings(self, training):
        """The settings for an adapter. training: Training."""
        return frameworks.Settings(training, self.threads, self.seed, self.precision)

    def inference_settings(self, batch_size):
        """The settings for an adapter that runs a trained network."""
        return frameworks.inference_settings(batch_size, self.threads, self.seed, self.precision)


def read_job(folder):
    """job.json as a dict. Raises BadJob if it cannot be read, lacks a field, or is of another version."""
    path = os.path.join(folder, "job.json")
    try:
        with open(path, encoding="utf-8") as file:
            job = json.load(file)
    except (OSError, ValueError) as error:
        raise BadJob(f"{path} cannot be read: {error}.") from error
    protocol.require_fields(job, ("v",), "job.json")
    if job["v"] != protocol.VERSION:
        raise BadJob(f"job.json is of version {job['v']}; this worker speaks version {protocol.VERSION}.")
    protocol.require_fields(job, protocol.JOB_FIELDS, "job.json")
    return job


def read_net(network):
    """The Net of a network of job.json, {"label", "ops"}. Raises BadJob for what is none."""
    protocol.require_fields(network, ("label", "ops"), "job.json: network")
    try:
        net = Net.of(network["ops"])
        net.classes  # noqa: B018 - raises for a network without logits
    except (ValueError, TypeError) as error:
        raise BadJob(f"job.json: network {network['label']}: {error}") from error
    return net


def main(folder, data_folder, work):
    """Do `work(job)` for the job in `folder`; gives the exit code. Every exception becomes a `fail` event."""
    # The first process of a container ignores SIGTERM unless it has a handler.
    signal.signal(signal.SIGTERM, _leave)
    if hasattr(os, "register_at_fork"):  # CPython 3.7+; no framework with loader processes needs an older one
        os.register_at_fork(after_in_child=_end_at_once)  # novermin
    # From now on by its descriptor: if the folder is renamed while we run, we do not write into its successor.
    data_folder = data_folder and os.path.abspath(data_folder)
    try:
        os.chdir(folder)
        emitter = Emitter("events.jsonl", clock)
    except OSError as error:
        sys.stderr.write(f"the events of this job cannot be written to {folder}: {error}.\n")
        return protocol.BAD_JOB
    try:
        work(Job(".", data_folder, emitter.emit))
        return protocol.OK
    except Exception as error:  # noqa: BLE001 - the top level: every error is reported
        code = _exit_code(error)
        log = traceback.format_exc()
        sys.stderr.write(log)
        reason = str(error) if code != protocol.BUG else f"{type(error).__name__}: {error}"
        op = {"op": error.op} if code == protocol.UNSUPPORTED else {}
        emitter.emit("fail", code=code, reason=reason, log=log[-8000:], **op)
        return code
    finally:
        emitter.close()


def _exit_code(error):
    for kind, code in protocol.EXIT_CODES:
        if isinstance(error, kind):
            return code
    return protocol.BUG


def _leave(number, _):
    raise SystemExit(128 + number)


def _end_at_once():
    """In the process of a loader, let SIGTERM end it at once, because its framework waits for its end.

    With our handler, which runs only between two Python instructions, MXNet waited forever for one of 16 workers.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
