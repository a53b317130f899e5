"""Text in, domain out: which adapter a conversation is for, how sure that is, or that none is.

A turn is parted (`conversation/`), its parts embedded (`encoders/`) and classified (`classifier/`), and
`policy`
makes a decision of that, which `batching` does for many requests at once. `cli/` is `crma-route`.
"""
