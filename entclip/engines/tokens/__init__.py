"""Contexts x vocabulary in torch, with fused kernels on a GPU."""
