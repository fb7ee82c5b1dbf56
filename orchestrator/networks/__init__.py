"""Networks as data: a family at an input size, with its classes, becomes a list of ops."""

from orchestrator.networks.input_size import InputSize
from orchestrator.networks.model import Model, recorded_labels
from orchestrator.networks.network import Network, label_at

__all__ = ["InputSize", "Model", "Network", "label_at", "recorded_labels"]
