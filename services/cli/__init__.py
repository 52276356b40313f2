"""The command line: `gihan`, and the demo that it runs."""
