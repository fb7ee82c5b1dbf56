"""Attempts to get out of a trial's container, from inside a real one: docs/security.md promises that each fails."""

import json

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]
in_docker = pytest.mark.parametrize("stand", ["docker"], indirect=True)

ATTEMPTS = {  # each is an expression or a statement that must raise, or assert what it finds
    "reach an address outside": "socket.create_connection(('1.1.1.1', 53), timeout=2)",
    "reach the host over its gateway": "socket.create_connection(('172.17.0.1', 22), timeout=2)",
    "use the Docker socket": "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
    "write to the root file system": "open('/etc/own', 'w')",
    "change the environment's packages": "open('/environment/own.py', 'w')",
    "change the worker's code": "open('/waymark/source/workers/run.py', 'a')",
    "change the pictures": "open('/waymark/data/x_train.npy', 'w')",
    "become root": "os.setuid(0)",
    "become root by a set-user-ID program": "assert_root(subprocess.run(['su', '-c', 'id'], stdin=-3))",
    "mount a file system": "libc('mount', b'none', b'/tmp', b'tmpfs', 0, None)",
    "take all rights in its own namespace": "libc('unshare', 0x10020000)\nlibc('mount', b'n', b'/tmp', b'tmpfs', 0, 0)",
    "make a device file": "os.mknod('/tmp/disk', 0o600 | stat.S_IFBLK, os.makedev(254, 0))",
    "read the memory of the machine": "open('/dev/mem', 'rb').read(1)",
    "change a setting of the kernel": "open('/proc/sys/kernel/core_pattern', 'w').write('|/bin/sh')",
    "load a kernel module": "libc('syscall', 175, b'', 0, b'')",
    "see another job": "assert_any([name for name in os.listdir('/waymark/job/..') if name not in SHARED])",
    "see a process of the host": "assert_any([p for p in os.listdir('/proc') if p.isdigit() and 'dockerd' in comm(p)])",
    "leave by the root of its first process": "os.stat('/proc/1/root' + HOST_FOLDER)",
    "link to a file of the host": "os.link('/waymark/source/workers/run.py', '/waymark/job/run.py')",
    "set the time": "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "speak to the hypervisor or its other machines": "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "read the log of the kernel": "libc('klogctl', 3, ctypes.create_string_buffer(100), 100)",
    "use the keys of its user": "libc('syscall', 250, 0, -4, 0, 0, 0)",
    "raise its own limits": "open('/sys/fs/cgroup/memory.max', 'w').write('max')",
}

CODE = """
import ctypes, socket, stat
SHARED = {"source", "job", "data", "home"}
def libc(name, *arguments):
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
def comm(pid):
    try:
        return open("/proc/%s/comm" % pid).read()
    except OSError:
        return ""
def assert_any(found):
    if not found:
        raise OSError("nothing is there")
def assert_root(ended):
    if ended.returncode:
        raise OSError("refused")
found = {}
for name, code in ATTEMPTS.items():
    try:
        exec(code)
    except Exception as error:
        found[name] = "%s: %s" % (type(error).__name__, error)
    else:
        found[name] = ""
json.dump(found, open("found.json", "w"))
"""


@pytest.fixture
def attempts(stand, tmp_path):
    """Attempt -> why it failed, '' for one that succeeded."""
    data = tmp_path / "pictures"
    data.mkdir(mode=0o755)
    (data / "x_train.npy").touch()
    code = f"HOST_FOLDER = {str(data)!r}\nATTEMPTS = {ATTEMPTS!r}\n{CODE}"
    launch = stand.launch(code, data_dir=data, cpus=(0,))
    for folder in (stand.source, data, launch.job_dir):
        folder.chmod(0o755)
    ended = stand.engine.run(launch, lambda: None)
    assert ended.code == 0, ended.log_tail
    return json.loads((launch.job_dir / "found.json").read_text(encoding="utf-8"))


@in_docker
def test_no_escape_from_a_container_succeeds(attempts):
    assert set(attempts) == set(ATTEMPTS)
    assert [name for name, why in attempts.items() if not why] == []
    # A mistake of the attempt itself is no proof.
    ours = ("NameError", "SyntaxError", "AttributeError", "TypeError", "KeyError")
    assert {name: why for name, why in attempts.items() if why.startswith(ours)} == {}


@in_docker
def test_what_a_worker_may_do_is_little_but_works(stand):
    ended = stand.run(
        "open('mine', 'w').write('x'); open('/tmp/mine', 'w').write('x'); open(os.environ['HOME'] + '/m', 'w')"
    )
    assert ended.code == 0, ended.log_tail
