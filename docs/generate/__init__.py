"""Writes the pages of streams and methods: ``python -m docs.generate``. A test compares them."""
