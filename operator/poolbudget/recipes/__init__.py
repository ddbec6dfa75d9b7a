"""Engine settings per provider, network path and pool mode, and how ConfigMaps spell them."""
