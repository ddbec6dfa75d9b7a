"""How many connections an endpoint allows: asked from the server itself, or declared."""
