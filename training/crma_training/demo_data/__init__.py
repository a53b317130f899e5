"""The demo data: five domains and out-of-domain queries, built from pinned packages."""
