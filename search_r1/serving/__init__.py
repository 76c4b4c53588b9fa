"""What ``search_r1.serve`` puts together: a model, its chat template, and our parsers in vLLM."""
