"""See scripts/check.sh. Each check gives a list of offences, one line of text each."""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import layering

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 70
# Assembled, so that this file does not offend against itself.
BANNED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b|(?i:\bst" r"ubs?\b)")


class Missing(Exception):
    """A tool is not there; the message names the package."""


def tool(name, package):
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is missing: apt install {package}")
    return path


def tracked(*suffixes):
    """Files known to git, or new and not ignored, that still exist."""
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True,
                         check=True, capture_output=True).stdout
    return [f for f in out.splitlines() if f.endswith(suffixes) and (ROOT / f).is_file()]


def cpp_files():
    return tracked(".h", ".cc", ".cu", ".cuh")


def read(path):
    return (ROOT / path).read_text(errors="replace")


def chunks(items, count):
    size = max(1, -(-len(items) // count))
    return [items[i:i + size] for i in range(0, len(items), size)]


def run_parallel(command, files):
    """The joined output of `command FILES…`, the files spread over the cores."""
    running = [subprocess.Popen([*command, *part], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
               for part in chunks(files, os.cpu_count() or 1)]
    return "".join(p.communicate()[0] for p in running)


def check_format(fix=False):
    command = [tool("clang-format-14", "clang-format-14"), "--style=file"]
    command += ["-i"] if fix else ["--dry-run", "-Werror"]
    out = run_parallel(command, cpp_files())
    first = {}
    for line in out.splitlines():
        match = re.match(r"(\S+?):(\d+):\d+: error", line)
        if match:
            first.setdefault(match.group(1), match.group(2))
    return [f"{f}:{n}: not formatted (scripts/check.sh --fix-format)" for f, n in first.items()]


def check_layering():
    return layering.self_test() + [o for f in cpp_files() for o in layering.offences(f, read(f))]


def long_cpp_functions(files, root):
    """[(path, line, name, lines)] of the functions that are too long, by universal-ctags."""
    command = [tool("ctags", "universal-ctags"), "--output-format=json", "--fields=+ne",
               "--languages=C++,C,CUDA", "--langmap=C++:+.h", "--kinds-C++=f", "--kinds-C=f",
               "--kinds-CUDA=f", "-f", "-", "-L", "-"]
    out = subprocess.run(command, cwd=root, input="\n".join(files), text=True, check=True,
                         capture_output=True).stdout
    tags = [json.loads(line) for line in out.splitlines() if '"_type": "tag"' in line]
    spans = [(t["path"], t["line"], t["name"], t.get("end", t["line"]) - t["line"] + 1)
             for t in tags]
    return [s for s in spans if s[3] > FUNCTION_LINES_MAX]


def long_python_functions(path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [n for n in ast.walk(ast.parse(read(path), path)) if isinstance(n, kinds)]
    spans = [(path, n.lineno, n.name, n.end_lineno - n.lineno + 1) for n in nodes]
    return [s for s in spans if s[3] > FUNCTION_LINES_MAX]


def function_length_self_test():
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in (("Good", FUNCTION_LINES_MAX), ("Long", FUNCTION_LINES_MAX + 1)):
            body = "  x();\n" * (lines - 2)
            Path(folder, name + ".cc").write_text(f"void {name}() {{\n{body}}}\n")
        found = [s[2] for s in long_cpp_functions(["Good.cc", "Long.cc"], folder)]
    return [] if found == ["Long"] else [f"function length self-test: found {found}"]


def check_length():
    spans = long_cpp_functions(cpp_files(), ROOT)
    spans += [s for f in tracked(".py") for s in long_python_functions(f)]
    return function_length_self_test() + [
        f"{p}:{n}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX} are allowed"
        for p, n, name, lines in spans]


def check_words():
    found = []
    for path in tracked(".h", ".cc", ".cu", ".cuh", ".c", ".py", ".sh", ".txt", ".cmake", ".toml",
                        ".md", ".yml", ".yaml"):
        for number, line in enumerate(read(path).splitlines(), 1):
            if match := BANNED.search(line):
                found.append(f"{path}:{number}: '{match.group()}' is banned: do it or leave it")
    return found


def shell_scripts():
    candidates = [f for f in tracked("") if "." not in Path(f).name or f.endswith(".sh")
                  or f.startswith(".ci/")]
    shebang = re.compile(rb"#!.*\b(ba|da)?sh\b")
    return [f for f in candidates if shebang.match((ROOT / f).read_bytes()[:64])]


def check_shell():
    out = run_parallel([tool("shellcheck", "shellcheck"), "--format=gcc", "-x"], shell_scripts())
    return out.splitlines()


def check_prometheus():
    found = []
    for path in tracked(".yml", ".yaml"):
        if not path.startswith("grafana/"):
            continue
        text = read(path)
        kind = ("rules" if re.search(r"^groups:", text, re.M) and "rules:" in text
                else "config" if re.search(r"^scrape_configs:", text, re.M) else None)
        if kind is None:
            continue
        command = [tool("promtool", "prometheus"), "check", kind, path]
        result = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
        if result.returncode != 0:
            found += [f"{path}: {line}" for line in (result.stdout + result.stderr).splitlines()]
    return found


def check_dashboards():
    script = ROOT / "scripts/check_dashboards.py"
    if not script.exists():
        return []
    result = subprocess.run([sys.executable, script], cwd=ROOT, text=True, capture_output=True)
    if result.returncode == 0:
        return []
    return (result.stdout + result.stderr).splitlines() or ["check_dashboards.py failed"]


CHECKS = {"format": check_format, "layering": check_layering, "length": check_length,
          "words": check_words, "shell": check_shell, "prometheus": check_prometheus,
          "dashboards": check_dashboards}


def tidy(files):
    """clang-tidy over files of the release preset's compile commands; 0 if clean."""
    database = ROOT / "build/release/compile_commands.json"
    if not database.exists():
        print(f"no {database.relative_to(ROOT)}: cmake --preset release")
        return 3
    known = {os.path.relpath(e["file"], ROOT) for e in json.loads(database.read_text())}
    files = [f for f in (files or cpp_files()) if f in known]
    print(f"clang-tidy: {len(files)} files")
    # Options of gcc that clang does not know are in the compile commands; they are not our concern.
    command = [tool("clang-tidy-14", "clang-tidy-14"), "-p", str(database.parent), "--quiet",
               "--extra-arg=-Wno-unknown-warning-option"]
    out = run_parallel(command, files)
    offences = [line for line in out.splitlines() if re.search(r": (error|warning): ", line)]
    print("\n".join(dict.fromkeys(offences)) or "clang-tidy: clean")
    return 1 if offences else 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/check.sh", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--tidy", nargs="*", metavar="FILE", help="run clang-tidy instead (slow)")
    parser.add_argument("--fix-format", action="store_true", help="format all files in place")
    args = parser.parse_args()
    if args.tidy is not None:
        return tidy(args.tidy)
    if args.fix_format:
        check_format(fix=True)
        return 0
    failed = missing = False
    for name in args.only:
        start = time.monotonic()
        try:
            offences = CHECKS[name]()
        except Missing as error:
            print(f"{name:<11} not run: {error}")
            missing = True
            continue
        verdict = f"{len(offences)} offences" if offences else "ok"
        print(f"{name:<11} {verdict}  ({time.monotonic() - start:.1f} s)")
        for line in offences:
            print(f"  {line}")
        failed |= bool(offences)
    return 1 if failed else 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
