"""The pure core: calendars, counting, charters, the fold, routing. No clock, no I/O, no chance, no environment."""
