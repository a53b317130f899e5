"""From a store to what the engine serves, at the start and for every later release while requests go on.

`snapshot` reads and checks the store, `plan` and `bundles` settle what is loaded, `manager` changes over with
`transition` (warm-up before, draining after).
"""
