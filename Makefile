# Everything that CI checks: style, types, the arrows between packages, and behaviour (see tests/test_house.py).
check:
	python -m pytest

# The long ones: kills at random steps, all faults of the Hub, whole recipes.
check-slow:
	python -m pytest -m slow

.PHONY: check check-slow
