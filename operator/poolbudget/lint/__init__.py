"""Checks of what people get wrong: each with a stable code, a severity and a remedy in one sentence."""
