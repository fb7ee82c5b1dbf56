"""What a sweep asks for before anything is planned."""

from orchestrator.dataset import Dataset
from orchestrator.execution.asking import Asked, SentBy, SweepRequest, training_first
from orchestrator.execution.weights import Wanted
from orchestrator.home import REPOSITORY
from orchestrator.networks import InputSize
from orchestrator.planning.plan import Order
from orchestrator.planning.spec import load_spec
from orchestrator.trial import Training


def test_the_weights_of_a_shard_are_trained_whole(catalogue):
    path = REPOSITORY / "experiments" / "inference.json"
    spec = load_spec(path, catalogue.frameworks)
    model = spec.axes.models[0].model
    request = SweepRequest(path, shard=(2, 2), sent_by=SentBy("20261130-120000-many"))
    missing = [Wanted(model, InputSize.square(32), Dataset(), Training())]
    first = training_first(Asked(request, spec, catalogue, None, Order(), missing=missing))
    assert (first.shard, first.sent_by) == (None, None)  # else it would be taken for a control
