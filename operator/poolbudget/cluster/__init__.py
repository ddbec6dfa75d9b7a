"""The Kubernetes side: reading what is there, writing what changed."""
