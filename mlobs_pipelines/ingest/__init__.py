"""Delivered files -> accepted rows of the lake, each once; the rest quarantined with a reason."""
