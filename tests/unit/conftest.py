"""Properties are about what is true, not about how fast this machine was while they were tried."""

from hypothesis import HealthCheck, settings

settings.register_profile("gihan", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("gihan")
