"""All that knows vLLM: its command, its plugins, its model classes, what is changed in them, its CPU kernel.

`serve` starts vLLM with a plan; vLLM runs `plugin` in each of its processes and `endpoints` in the HTTP one.
Nothing else in the project imports vLLM.
"""
