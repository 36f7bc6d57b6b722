"""Write the generated documents of the wire contract, or check that they are up to date.

python -m tools.asyncapi            write asyncapi.yaml and docs/reference/events.md
python -m tools.asyncapi --check    exit 1 and show the difference where one has drifted
"""

import difflib
import sys
from pathlib import Path

from tools.asyncapi import document, reference

ROOT = Path(__file__).resolve().parents[2]


def generated() -> dict[Path, str]:
    return {
        ROOT / "asyncapi.yaml": document.as_yaml(),
        ROOT / "docs" / "reference" / "events.md": reference.as_markdown(),
    }


def drift(path: Path, wanted: str) -> str:
    """The difference between the file and what it should be; empty where there is none."""
    found = path.read_text() if path.exists() else ""
    name = str(path.relative_to(ROOT))
    lines = difflib.unified_diff(
        found.splitlines(keepends=True),
        wanted.splitlines(keepends=True),
        name,
        f"{name} (generated)",
    )
    return "".join(lines)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    drifted = {path: diff for path, text in generated().items() if (diff := drift(path, text))}
    if arguments:
        print("".join(drifted.values()), end="")
        if drifted:
            print("The contract and its documents differ: run `make asyncapi`.", file=sys.stderr)
        return 1 if drifted else 0
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"{path.relative_to(ROOT)}: {'written' if path in drifted else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
