"""How well a result agrees with the truth; every figure has one definition, in its docstring."""
