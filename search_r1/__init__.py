"""Train language models to search: the loop, its parsers, rewards and policies.

Start reading at :mod:`search_r1.loop`. Importing this package pulls in neither torch, nor verl, nor
vllm.
"""

__version__ = "0.1.0"
