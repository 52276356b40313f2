"""The demo: a made-up week through the whole system, and everything that came of it compared."""
