"""The HTTP endpoints, one blueprint a module."""
