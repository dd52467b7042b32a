"""Selections -> batches -> diffusion model -> pictures."""
