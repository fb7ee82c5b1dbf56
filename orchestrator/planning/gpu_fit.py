"""Compares what a row was built for with the cards of this machine and their driver. Pure.

A row that fits is also tried: execution/environments.py takes one training step in it before anything is timed.
"""

from collections.abc import Collection, Iterable

from orchestrator.environment import Card
from orchestrator.errors import SpecError
from orchestrator.planning.image_row import Cuda, ImageRow, version_numbers
from orchestrator.records.host_facts import HostFacts


def why_not(row: ImageRow, host: HostFacts) -> str:
    """Why no card of `host` can run `row`, or ''."""
    faults = {card: unfit(row.cuda, card) for card in host.gpus}
    if not faults:
        return host.gpu_note
    if "" in faults.values():
        return ""
    if len(faults) == 1:
        return next(iter(faults.values()))
    return "; ".join(f"{card.label}: {fault}" for card, fault in faults.items())


def card_for(row: ImageRow, host: HostFacts) -> Card | None:
    """The card that all trials of `row` run on: the first that fits. None for a row of the CPU, or if none fits."""
    if row.device != "gpu":
        return None
    return next((card for card in host.gpus if not unfit(row.cuda, card)), None)


def cards_for(rows: Iterable[ImageRow], host: HostFacts) -> tuple[Card, ...]:
    """The cards that trials of `rows` run on, each once."""
    cards = {card.index: card for row in rows if (card := card_for(row, host))}
    return tuple(cards[index] for index in sorted(cards))


def unfit(cuda: Cuda | None, card: Card) -> str:
    """Why a build cannot run on `card`, or ''. cuda: None if nothing is known about the build; it is then tried."""
    if card.is_mig:
        return (
            "unsupported: this card is divided (MIG), and the speed of a part is not that of a card; "
            f"`nvidia-smi -i {card.index} -mig 0` makes it whole"
        )
    if cuda is None:
        return ""
    mine, (lowest, highest) = version_numbers(card.capability), cuda.capability
    is_compiled_by_driver = (
        cuda.ptx is not None and mine > version_numbers(highest) and mine >= version_numbers(cuda.ptx)
    )
    if not (version_numbers(lowest) <= mine <= version_numbers(highest) or is_compiled_by_driver):
        built = _sm(lowest) if lowest == highest else f"{_sm(lowest)}-{_sm(highest)}"
        return f"unsupported: built for {built}, this card is {_sm(card.capability)}"
    if version_numbers(card.driver) < version_numbers(cuda.driver):
        return f"needs driver >= {cuda.driver}, here {card.driver}"
    return ""


def narrowed(host: HostFacts, indices: Collection[int]) -> HostFacts:
    """`host` with only these of its cards, in that order; all if none is named. Raises SpecError for an unknown card.

    A machine without cards is returned unchanged; its GPU cells are then skipped.
    """
    known = {card.index: card for card in host.gpus}
    if not indices or not known:
        return host
    for index in indices:
        if index not in known:
            there = ", ".join(f"{card.index} ({card.name})" for card in host.gpus)
            note = f" ({host.gpu_note})" if host.gpu_note else ""
            raise SpecError(f"--gpus names card {index}; this machine has {there}{note}.")
    return host.model_copy(update={"gpus": tuple(known[index] for index in indices)})


def _sm(capability: str) -> str:
    """'7.5' -> 'sm_75', as CUDA's compilers write it."""
    return f"sm_{capability.replace('.', '')}"
