"""``python -m tests.golden``: write the files anew."""

from __future__ import annotations

from tests.golden import ENGINES, HERE, text

for engine in ENGINES:
    (HERE / f"{engine}.sql").write_text(text(engine), encoding="utf-8")
