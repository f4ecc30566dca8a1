"""Flows say when: order only. One file a flow."""
