"""Questions the policy knows or cannot know: candidates, its samples, labels, and the mix.

Facts and word forms come from pinned packages and one list of ours; nothing here runs a model.
"""
