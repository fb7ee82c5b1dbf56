"""What every runtime promises (workers/frameworks/__init__.py), asked of each of its rows in its own environment."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import AbsentError
from orchestrator.home import REPOSITORY
from tests.contract.adapter_facts import further_ops

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.timeout(900),  # the first test of a row may have to make its environment
    pytest.mark.rows(where=lambda row: not row.trains),
    pytest.mark.frameworks,
]

BOUNDS = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2, "int8": 0.2}
"""Largest differences of logits by what a row computes in; small networks on noise, so int8 shows only gross errors."""

REFUSED: dict[str, set[str]] = {}
"""The windows that a runtime is known not to have; any other one must be run."""


REFUSED_OPS = {"litert": {"elu"}, "ncnn": {"layernorm of maps", "vectors"}, "openvino": {"lrn"}}
"""The same of the networks of `further_ops`."""


@pytest.fixture(scope="module")
def facts(virtualenv, tmp_path_factory):
    """facts(row) -> what tests/contract/runtime_facts.py saw."""
    known = {}

    def facts(row):
        if row.slug not in known:
            where = virtualenv(row)
            if isinstance(where, AbsentError):
                pytest.skip(str(where))
            env = {**os.environ, **where.env, "PYTHONPATH": str(REPOSITORY)}
            asked = [row.framework, json.dumps(row.options), row.precision, tmp_path_factory.mktemp(row.slug)]
            command = [where.location, HERE / "runtime_facts.py", *asked]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=600)
            assert done.returncode == 0, done.stderr[-2000:]
            known[row.slug] = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
        return known[row.slug]

    return facts


def test_it_trains_nothing(facts, row):
    assert not facts(row)["trains"]


@pytest.mark.parametrize("network", ["every_op", "downsampling"])
def test_its_logits_are_the_oracles(facts, row, network):
    seen = facts(row)
    assert seen[network]["infer_off"] < BOUNDS[seen["describe"]["precision"]]


def test_each_window_is_the_oracles_or_refused_with_a_reason(facts, row):
    seen, bound = facts(row)["windows"], BOUNDS[facts(row)["describe"]["precision"]]
    refused = {name: why for name, why in seen.items() if isinstance(why, list)}
    assert len(seen) == 13
    assert all(len(why) > 20 for _, why in refused.values())
    assert refused.keys() <= REFUSED.get(row.subject, set())
    assert {name: off for name, off in seen.items() if name not in refused and not off < bound} == {}


def test_each_further_op_is_the_oracles_or_refused(facts, row):
    seen, bound = facts(row)["further_ops"], BOUNDS[facts(row)["describe"]["precision"]]
    refused = {name: why for name, why in seen.items() if isinstance(why, list)}
    assert len(seen) == len(further_ops())
    assert all(len(why) > 20 for _, why in refused.values())
    assert refused.keys() <= REFUSED_OPS.get(row.framework, set())
    assert {name: off for name, off in seen.items() if name not in refused and not off < bound} == {}


def test_queries_that_wait_at_once_keep_their_own_logits(facts, row):
    assert facts(row)["every_op"]["infer_shapes"] == [[8, 6], [8, 6]]
    assert facts(row)["every_op"]["infer_dtypes"] == ["float32"]


def test_it_says_what_its_row_expects(facts, row):
    assert row.expects.items() <= facts(row)["describe"].items()


def test_its_description_is_flat(facts, row):
    assert not [value for value in facts(row)["describe"].values() if isinstance(value, dict | list)]


def test_it_refuses_what_it_does_not_know(facts, row):
    assert facts(row)["refuses_unknown_options"]
    assert facts(row)["refuses_an_absent_gpu"]


def test_the_files_that_it_writes_give_the_same_logits(facts, row):
    exported = facts(row).get("exported")
    assert exported is None or (min(exported.values()) > 100 and facts(row)["exported_off"] < 1e-5)


TWO_DEVICES = """
import sys
import jax
import numpy
from tests.contract.adapter_facts import SETTINGS, every_op
from workers.frameworks.jax.adapter import Adapter

jax.config.update("jax_default_device", jax.devices()[1])
net = every_op()
pictures = numpy.zeros((2, *net.shapes[net.ops[0].name]), "float32")
logits = Adapter(net, net.start(5), "cpu", SETTINGS, {}).infer(pictures)
sys.stdout.write(" ".join(str(device.id) for device in logits.devices()))
"""


@pytest.mark.rows(where=lambda row: row.framework == "jax")
def test_jax_computes_on_the_device_that_was_asked_for(virtualenv, row):
    where = virtualenv(row)
    if isinstance(where, AbsentError):
        pytest.skip(str(where))
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PYTHONPATH": str(REPOSITORY)}
    command = [where.location, "-c", TWO_DEVICES]
    done = subprocess.run(command, env={**os.environ, **where.env, **two}, capture_output=True, text=True, check=False)
    assert done.stdout == "0", done.stderr[-2000:]
