"""A reusable Django app that turns a site into an AI gateway.

Importable before settings exist: nothing here touches Django.
"""

__version__ = "0.1.0"
