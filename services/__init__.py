"""The services of Gihan, the pure core that they share, and the chassis that carries them."""
