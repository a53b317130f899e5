"""Retention inside one field: sub-domains learnt one after another, probed right away and at the end."""
