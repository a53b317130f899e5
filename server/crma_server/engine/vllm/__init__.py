"""All that knows vLLM, and nothing else in the project imports it.

`serve` starts it with a plan, after `compat` has looked whether the installed version has what is used; vLLM
runs `plugin` in each of its processes, `endpoints` in the HTTP one, and builds `models`; `engine` loads
bundles; `cpu` is the CPU's LoRA kernel."""
