"""Writes the pages of streams and methods: ``python -m docs.generate``. A test holds that they are current."""
