"""What the guests boot: the distribution's kernel, and an initramfs of programs of this machine.

The kernel's packages are downloaded by apt and unpacked, never installed; the rest (busybox, the rxe
provider, perftest, iproute2) is copied from this machine with the libraries that ldd names. The
result is kept in build/vm-lab and made again when anything that went into it changes.
"""

import fcntl
import gzip
import hashlib
import lzma
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.system import ROOT, LabError, Unavailable, run

CACHE = ROOT / "build/vm-lab"
INIT = Path(__file__).with_name("init")
# The kernel by the distributions' names (Debian, Ubuntu): packages that depend on the real ones.
KERNEL_PACKAGES = ("linux-image-amd64", "linux-image-generic")
MODULES = ("virtio_pci", "virtio_net", "virtio_console", "crc32_generic", "crc32_pclmul", "ib_uverbs",
           "rdma_ucm", "rdma_rxe")
PROGRAMS = ("ip", "rdma", "ibv_devinfo", "ibv_rc_pingpong", "ibv_ud_pingpong", "ib_write_lat",
            "ib_send_lat", "ib_read_lat", "ib_write_bw", "ib_send_bw", "ib_read_bw")
# What the host must have: a program and the package that brings it.
NEEDED = (("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("cpio", "cpio"),
          ("dash", "dash"), ("depmod", "kmod"), ("dpkg-deb", "dpkg"), ("ib_write_lat", "perftest"),
          ("ibv_devinfo", "ibverbs-utils"), ("rdma", "iproute2"), ("zstd", "zstd"))
DECOMPRESS = {".ko": lambda data: data, ".gz": gzip.decompress, ".xz": lzma.decompress,
              ".zst": lambda data: subprocess.run(["zstd", "-dc"], input=data, check=True,
                                                  capture_output=True).stdout}


def which(program):
    """Where a program is; administrators' folders count though they are not in a user's PATH."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(program, path=path)


def lacks():
    """Why guests cannot be made here, with the command that mends it; None if they can."""
    if platform.machine() != "x86_64":
        return f"the RDMA lab's guests are x86-64 machines, this one is {platform.machine()}"
    for program, package in NEEDED:
        if which(program) is None:
            return f"{program} is missing: apt install {package} (scripts/install_deps.sh rdma)"
    if not _rxe_provider():
        return "the verbs provider of rxe is missing: apt install ibverbs-providers"
    return None


def _rxe_provider():
    return sorted(Path("/usr/lib").glob("*/libibverbs/librxe-rdmav*.so"))


def kernel_packages():
    """The names of the packages that hold the kernel and its modules."""
    known = set()
    wanted = [name for name in KERNEL_PACKAGES if _dependencies(name)][:1]
    while wanted:
        name = wanted.pop()
        for dependency in _dependencies(name):
            if re.match(r"linux-(image|modules|modules-extra)-\d", dependency) \
                    and dependency not in known:
                known.add(dependency)
                wanted.append(dependency)
    if not known:
        raise Unavailable(f"apt knows no kernel ({' or '.join(KERNEL_PACKAGES)}): apt-get update")
    return sorted(known)


def _dependencies(package):
    out = run("apt-cache", "depends", "--important", package, check=False)
    return re.findall(r"^\s*Depends: (\S+)$", out, re.M)


def _download(packages, folder):
    """Unpacks the kernel's files into `folder`, with modules.dep."""
    run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=folder,
        timeout=600)
    for deb in folder.glob("*.deb"):
        run("dpkg-deb", "-x", deb, folder, timeout=300)
    if not (folder / "lib/modules").is_dir():  # merged /usr
        (folder / "lib").symlink_to("usr/lib")
    run(which("depmod"), "-b", folder, _version(folder))


def _version(tree):
    versions = sorted(path.name for path in (tree / "lib/modules").iterdir())
    if len(versions) != 1:
        raise LabError(f"expected one kernel in {tree}/lib/modules, found {versions or 'none'}")
    return versions[0]


def _module_files(tree):
    """The modules in loading order, as paths under the version's folder."""
    folder = tree / "lib/modules" / _version(tree)
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        needs[Path(file).name.split(".")[0].replace("-", "_")] = (file, rest.split())
    builtin = {Path(line).stem.replace("-", "_")
               for line in (folder / "modules.builtin").read_text().splitlines()}
    files = []
    for module in MODULES:
        if module in builtin:
            continue
        if module not in needs:
            raise LabError(f"this kernel ({folder.name}) has no module {module}")
        file, rest = needs[module]
        files += [f for f in [*reversed(rest), file] if f not in files]
    return [folder / f for f in files]


def _libraries(file):
    out = run("ldd", file, check=False)  # "not a dynamic executable" is an error, and fine
    return [Path(p) for p in re.findall(r"(/\S+) \(0x", out)]


def _copy_program(file, root, target=None):
    """A program or library to the same place under `root`, with the libraries it needs."""
    for source in [file, *_libraries(file)]:
        place = root / str(target if target and source is file else source).lstrip("/")
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)


def _copy_modules(tree, root):
    names = []
    for file in _module_files(tree):
        name = "lib/modules/" + file.name.split(".ko")[0] + ".ko"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(DECOMPRESS[file.suffix](file.read_bytes()))
        names.append(f"/{name}\n")
    (root / "modules").write_text("".join(names))


def _pack(root, file):
    """Not compressed: an emulated CPU takes longer to decompress than QEMU to copy."""
    names = "\0".join(sorted(str(p.relative_to(root)) for p in root.rglob("*")))
    with file.open("wb") as archive:
        subprocess.run(["cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0"], cwd=root, check=True,
                       input=names.encode(), stdout=archive)


def _make_initramfs(tree, root, file):
    _copy_program(Path(which("busybox")), root, "/bin/busybox")
    _copy_program(Path(which("dash")), root, "/bin/dash")
    (root / "bin/sh").symlink_to("dash")
    for program in PROGRAMS:
        _copy_program(Path(which(program)), root, f"/usr/bin/{program}")
    _copy_program(_rxe_provider()[-1], root)
    (root / "etc/libibverbs.d").mkdir(parents=True)
    (root / "etc/libibverbs.d/rxe.driver").write_text("driver rxe\n")
    _copy_modules(tree, root)
    shutil.copy(INIT, root / "init")
    _pack(root, file)


def _stamp(packages):
    """Changes when anything does that the image is made of."""
    files = [Path(__file__), INIT, _rxe_provider()[-1],
             *(Path(which(program)) for program in ("busybox", "dash", *PROGRAMS))]
    parts = [*packages, *(f"{f} {hashlib.sha256(f.read_bytes()).hexdigest()}" for f in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _make(packages, folder):
    for old in CACHE.glob("*/"):
        shutil.rmtree(old, ignore_errors=True)
    # A package that is still being unpacked when a signal comes may write on for a moment.
    with tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as temporary:
        tree, root, made = (Path(temporary) / name for name in ("tree", "root", "made"))
        for path in (tree, root, made):
            path.mkdir()
        _download(packages, tree)
        shutil.copy(next((tree / "boot").glob("vmlinuz-*")), made / "vmlinuz")
        _make_initramfs(tree, root, made / "initramfs")
        made.rename(folder)


def build(say=print):
    """The kernel's and the initramfs's files; made if the cache has none of this stamp."""
    if (reason := lacks()) is not None:
        raise Unavailable(reason)
    CACHE.mkdir(parents=True, exist_ok=True)
    packages = kernel_packages()
    folder = CACHE / _stamp(packages)
    with (CACHE / "lock").open("w") as lock:  # two labs may begin at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            say(f"making the guests' image from {' '.join(packages)} and this machine's programs")
            _make(packages, folder)
    return folder / "vmlinuz", folder / "initramfs"


def with_programs(initramfs, programs, file):
    """The initramfs with further programs of this machine, in /usr/local/bin; gives `file`."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for program in map(Path, programs):
            _copy_program(program.resolve(), root, f"/usr/local/bin/{program.name}")
        _pack(root, file)
    file.write_bytes(initramfs.read_bytes() + file.read_bytes())  # the kernel unpacks one by one
    return file
