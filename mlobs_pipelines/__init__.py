"""Observability for models in production: logged predictions and late labels -> judged metrics -> action."""

__version__ = "0.1.0"
