"""Accepted rows -> label facts: which prediction a label belongs to, and what was believed before (dbt)."""
