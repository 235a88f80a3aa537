"""The ways through the rooms, one a command; nothing else composes them."""
