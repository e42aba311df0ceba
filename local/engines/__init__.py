"""Starters of real engines, from package registries alone."""
