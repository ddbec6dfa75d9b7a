"""The running operator: watching, queueing, probing, reconciling."""
