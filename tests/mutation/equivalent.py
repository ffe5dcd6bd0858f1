"""The list of mutants that cannot change an answer, each with its proof: equivalent.toml beside this file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from mutant import Mutant

LIST = Path(__file__).with_name("equivalent.toml")
SHORTEST_PROOF = 20

#: file, function, line, change; the function "*" is every one of the file, "#*" every such change of the line
Key = tuple[str, str, str, str]


def listed(path: Path = LIST) -> dict[Key, str]:
    """Proof by key; an entry without one, or one that stands there twice, ends the run."""
    found: dict[Key, str] = {}
    for entry in tomllib.loads(path.read_text()).get("equivalent", []):
        proof = " ".join(entry.get("proof", "").split())
        if len(proof) < SHORTEST_PROOF:
            raise SystemExit(f"{path.name}: no proof for {entry}")
        for line, *changes in entry["mutants"]:
            for change in changes:
                key = (entry["file"], entry["function"], line, change)
                if key in found:
                    raise SystemExit(f"{path.name}: {key} stands there twice")
                found[key] = proof
    return found


def proof_of(mutant: Mutant, proofs: dict[Key, str]) -> Key | None:
    """The listed key that is this mutant's: its own, or one for a whole file."""
    file, _, line, change = mutant.key
    every = change.partition(" #")[0] + " #*"
    for key in (mutant.key, (file, "*", line, change), (file, "*", line, every)):
        if key in proofs:
            return key
    return None


def stale(proofs: dict[Key, str], mutants: Iterable[Mutant]) -> list[str]:
    """Listed mutants that no longer exist: their line has changed, and so perhaps has the proof."""
    used = {proof_of(mutant, proofs) for mutant in mutants}
    return [" | ".join(key) for key in proofs if key not in used]
