"""The parsers of vLLM and of verl as parsers of ours; imported when one is asked for by name."""
