"""What hostile requests are made of, whatever the protocol."""

MANY = 200_000
"""Names where one is enough."""
MILLION = 1_000_000
DEEP = 250_000
"""Levels of nesting that a parser which calls itself does not survive."""

NAMES = {
    "nul": "in\0put",
    "newline": 'x\nE1123 00:00:00.000000 1 server.rs:1] "forged"',
    "quotes": "\"'`\\\"}],",
    "percent": "%s%n%00%0a",
    "not_ascii": "имя\u202e\ufeff\U0001f600",
    "long": "n" * 100_000,
}
"""Names that nobody should have."""
