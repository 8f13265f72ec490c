"""One view a page: tables in, what the page says out."""
