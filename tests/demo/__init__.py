"""The demonstration: a real cluster, a real database, real pods, one scaling up and down."""
