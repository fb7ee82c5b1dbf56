"""Users' own networks in what is on record."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from orchestrator.networks import own


def _kept(networks: dict[str, tuple[dict[str, Any], ...]]) -> dict[str, tuple[dict[str, Any], ...]]:
    for sha256, ops in networks.items():
        try:
            seen = own.keep(ops)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{sha256[:12]} is no network: {error}") from None
        if seen != sha256:
            raise ValueError(f"the ops under {sha256[:12]} have the hash {seen[:12]}; they were changed.")
    return networks


def _spec_kept(spec: dict[str, Any]) -> dict[str, Any]:
    networks = spec.get("networks", {})
    if not isinstance(networks, dict):
        raise ValueError("its networks are no object.")
    _kept(networks)
    return spec


RecordedSpec = Annotated[dict[str, Any], AfterValidator(_spec_kept)]
"""A spec as a run recorded it, of this version or another; its networks are known from then on."""

OwnNetworks = Annotated[dict[str, tuple[dict[str, Any], ...]], Field(max_length=100), AfterValidator(_kept)]
"""hash -> ops. Whoever validates it knows them from then on (orchestrator/networks/own.py)."""
