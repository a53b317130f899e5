"""vLLM's OpenAI server with routing and CRMA.

`cli` settles a plan (`releases`), `engine` starts vLLM with it and puts our layers around its application
(`http`, `observability`, `admin`, `dashboard`). A request flows `http` -> `routing` -> engine, its reply back
through `http`. vLLM is imported in `engine/vllm` only.
"""
