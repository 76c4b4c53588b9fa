"""What measures us: not in the wheel, and nothing of the product imports it."""
