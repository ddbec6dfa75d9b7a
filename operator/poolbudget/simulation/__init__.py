"""A model of a cluster around the operator's own planner, charges and reconcile steps."""
