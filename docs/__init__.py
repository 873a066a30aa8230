"""The documentation: pages, and the code that writes some of them (docs/generate) and builds the site."""
