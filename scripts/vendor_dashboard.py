"""Fetch the dashboard's few libraries from the npm registry into `dashboard/vendor/`.

Run by hand when a version is raised; its output is committed, so nobody else needs npm. Each
package is pinned by version and by the registry's sha512: a changed archive is refused. Bare
imports (`from"preact"`) become relative ones, because a browser without an import map cannot
resolve them and an inline import map would need a hole in the content security policy.

`--check` compares the committed files with `vendor.json` and needs no network.
"""

import argparse
import base64
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "dashboard" / "vendor"
SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=\S+\s*$")
BARE_IMPORT = re.compile(r"""(\bfrom|\bimport)\s*(["'])([@a-z][\w@/.-]*)\2""")


@dataclass(frozen=True, slots=True)
class Package:
    """One pinned npm package: which of its files we take and what they are imported as."""

    name: str
    version: str
    licence: str
    integrity: str
    files: dict[str, str]
    """Import specifier -> path inside the archive."""


PACKAGES = (
    Package(
        "preact",
        "11.2.0",
        "MIT",
        "sha512-/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==",
        {"preact": "dist/preact.mjs", "preact/hooks": "hooks/dist/hooks.mjs"},
    ),
    Package(
        "htm",
        "3.1.1",
        "Apache-2.0",
        "sha512-983Vyg8NwUE7JkZ6NmOqpCZ+sh1bKv2iYTlUkzlWmA5JD2acKoxd4KVxbMmxX/85mtfdnDmTFoNKcg5DGAvxNQ==",
        {"htm": "dist/htm.mjs"},
    ),
    Package(
        "@preact/signals-core",
        "1.14.5",
        "MIT",
        "sha512-vcRv7Ityz5JVmeiVqIluLFzT/PDS/AlhHUpw3/aUWqcVUs6bDGIPXE/6RSC4evBNWYvnniozg5Syfj33al3gkg==",
        {"@preact/signals-core": "dist/signals-core.mjs"},
    ),
    Package(
        "@preact/signals",
        "2.11.4",
        "MIT",
        "sha512-Rb+5RPo9gWSaHtzJeauhHxiC8KP/IF2DEPkHPEOGOnuy2wnJzRqyeLRankUCYd6ADqtxS6GnWGv6Ie343d8aYw==",
        {"@preact/signals": "dist/signals.mjs"},
    ),
)


class VendorError(Exception):
    """A package or a committed file is not what the pins say."""


def file_name(specifier: str) -> str:
    """`@preact/signals-core` -> `preact-signals-core.js`."""
    return specifier.lstrip("@").replace("/", "-") + ".js"


def sha512(content: bytes) -> str:
    """Subresource-integrity form, as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def fetch(package: Package, folder: Path) -> Path:
    """Let npm fetch the archive (it knows the configured registry), then trust only its hash."""
    subprocess.run(
        ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    stem = package.name.lstrip("@").replace("/", "-")
    archive = folder / f"{stem}-{package.version}.tgz"
    found = sha512(archive.read_bytes())
    if found != package.integrity:
        raise VendorError(f"{archive.name}: expected {package.integrity}, got {found}")
    return archive


def rewrite(source: str) -> str:
    """Make every bare import relative and drop the pointer to a source map we do not ship."""
    known = {specifier for package in PACKAGES for specifier in package.files}

    def relative(match: re.Match[str]) -> str:
        keyword, quote, specifier = match.groups()
        if specifier not in known:
            raise VendorError(f"imports {specifier}, which is not vendored")
        return f"{keyword}{quote}./{file_name(specifier)}{quote}"

    return SOURCE_MAP.sub("\n", BARE_IMPORT.sub(relative, source))


def unpack(package: Package, archive: Path) -> tuple[dict[str, str], str]:
    """The files we serve, by file name, and the package's licence text."""
    with tarfile.open(archive) as tar:

        def text(path: str) -> str:
            member = tar.extractfile(f"package/{path}")
            if member is None:
                raise VendorError(f"{archive.name} holds no {path}")
            return member.read().decode()

        banner = f"/*! {package.name} {package.version} | {package.licence} | LICENSES.txt */\n"
        files = {
            file_name(specifier): banner + rewrite(text(path))
            for specifier, path in package.files.items()
        }
        return files, text("LICENSE").strip()


def vendor() -> None:
    """Write the modules, their licences and `vendor.json`."""
    VENDOR.mkdir(exist_ok=True)
    manifest, licences = [], []
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            files, licence = unpack(package, fetch(package, Path(folder)))
            for name, content in files.items():
                (VENDOR / name).write_text(content)
            licences.append(f"{package.name} {package.version}\n\n{licence}\n")
            manifest.append(
                {
                    "name": package.name,
                    "version": package.version,
                    "licence": package.licence,
                    "integrity": package.integrity,
                    "files": {name: sha512(text.encode()) for name, text in sorted(files.items())},
                }
            )
    (VENDOR / "LICENSES.txt").write_text(f"\n{'-' * 72}\n\n".join(licences))
    (VENDOR / "vendor.json").write_text(json.dumps(manifest, indent=2) + "\n")


def check() -> None:
    """Raise when a committed file differs from what was vendored, or is not listed."""
    manifest = json.loads((VENDOR / "vendor.json").read_text())
    listed = {name: digest for entry in manifest for name, digest in entry["files"].items()}
    present = {path.name for path in VENDOR.glob("*.js")}
    if present != set(listed):
        raise VendorError(f"vendor.json and the folder differ: {sorted(present ^ set(listed))}")
    for name, digest in listed.items():
        if sha512((VENDOR / name).read_bytes()) != digest:
            raise VendorError(f"{name} was changed by hand")
    pinned = {(p.name, p.version, p.integrity) for p in PACKAGES}
    if {(e["name"], e["version"], e["integrity"]) for e in manifest} != pinned:
        raise VendorError("the pins changed: run scripts/vendor_dashboard.py")


def main() -> None:
    """Vendor, or with `--check` only compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only; no network")
    try:
        check() if parser.parse_args().check else vendor()
    except VendorError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
