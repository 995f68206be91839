"""STEM: spatial, temporal and embodiment memory as projections of one durable log of events."""
