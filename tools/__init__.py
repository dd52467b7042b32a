"""Recipes that made what the project bundles; nothing at run time imports them."""
