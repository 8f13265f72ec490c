"""Marks drawn as inline SVG. Each has a title and a summary for those who do not see it, and its numbers in a table.

Places along the width are per cent, so a chart fits a phone and a wall without scaling its text.
"""
