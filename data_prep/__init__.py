"""Questions, corpora and models: fetched, checked, and brought to one row shape."""
