"""The wheel, installed the way a person installs it."""
