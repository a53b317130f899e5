"""The demo data: five domains and out-of-domain queries, built from pinned packages.

Owns: which packages, and how they are fetched, read, phrased, split and written. Does not know training.
"""
