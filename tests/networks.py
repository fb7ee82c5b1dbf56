"""Networks of our families, for tests and benchmarks."""

from orchestrator.networks import InputSize, Model, Network


def model_of(name: str) -> Model:
    """'resnet20' and its like, or 'idsia'."""
    return Model(name="resnet", depth=int(name[6:])) if name.startswith("resnet") else Model(name=name)


def network_of(name: str, input_size: object, classes: int = 43) -> Network:
    """The network as job.json holds it. input_size: as JSON writes it, 32 or [1, 28, 28]."""
    return Network.of(model_of(name), InputSize.of(input_size), classes)


def net_of(name: str, input_size: object, classes: int = 43):
    """The same as a Net."""
    return network_of(name, input_size, classes).net
