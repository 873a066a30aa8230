"""Writes the pages of streams and methods: ``python -m docs.generate``. A test holds them to what it writes."""
