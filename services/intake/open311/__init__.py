"""Open311 GeoReport v2, for civic software that speaks it. The one rule: it grants nothing of its own."""

from services.intake.open311.routes import router

__all__ = ["router"]
