"""The machine of some settings."""

from __future__ import annotations

from weft.mapper.pricing.gpu import GpuPricing
from weft.mapper.pricing.ideal import IdealPricing
from weft.mapper.pricing.machine import PricedMachine
from weft.mapper.pricing.sat import SatPricing
from weft.mapper.pricing.settings import GpuSettings, IdealSettings, MachineSettings, SatSettings

__all__ = ["find_machine"]


def find_machine(settings: MachineSettings) -> PricedMachine:
    """The machine that ``settings`` describe."""
    match settings:
        case SatSettings():
            return SatPricing(settings)
        case GpuSettings():
            return GpuPricing(settings)
        case IdealSettings():
            return IdealPricing(settings)
