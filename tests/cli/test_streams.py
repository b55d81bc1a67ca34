"""Services and cron jobs: streams that are closed, full, without a reader, or of few letters."""

import json
import os
import subprocess
import sys

import pytest

_CODE = "import sys; from nearfar.cli import main; sys.exit(main())"


def ran(redirect, *words, **environment):
    command = f"{sys.executable} -c '{_CODE}' {' '.join(words)} {redirect}"
    env = {**os.environ, **environment}
    return subprocess.run(["bash", "-c", command], capture_output=True, env=env, check=False)


@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_harm_nothing(redirect):
    assert ran(redirect, "list", "methods").returncode == 0
    assert ran(redirect, "list", "wat").returncode == 2


def test_a_closed_stream_s_number_goes_to_no_file(tmp_path):
    code = (
        "from nearfar.cli import streams; import sys; streams.prepare(); file = open(sys.argv[1], 'w'); "
        "print('for nobody'); sys.stdout.flush(); sys.exit(file.fileno() < 3)"
    )
    command = f'{sys.executable} -c "{code}" {tmp_path / "f"} <&- >&- 2>&-'
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0
    assert (tmp_path / "f").read_text() == ""


def test_a_full_standard_output_is_a_failure():
    done = ran("> /dev/full", "list", "methods")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_an_encoding_lacks_are_escaped(encoding):
    code = (
        "from nearfar.cli import streams; import sys; streams.prepare(); "
        "print('\\u00e4\\u20ac', end=''); sys.stdout.flush(); sys.stdout.write('\\udce4')"
    )
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    said = {"ascii": b"\\xe4\\u20ac", "latin-1": b"\xe4\\u20ac", "utf-8": "ä€".encode()}[encoding]
    assert done.stdout == said + b"\xe4"  # a byte of a file's name, as it is


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_json_is_json_in_any_encoding(encoding, monkeypatch):
    from nearfar.cli import running

    class Stream:
        pass

    stream = Stream()
    stream.encoding = encoding
    monkeypatch.setattr(sys, "stdout", stream)
    line = running._to_json({"ä": "\udce4€"})
    assert json.loads(line.encode(encoding)) == {"ä": "\udce4€"}


def test_progress_without_a_reader_ends_nothing():
    code = (
        "import sys, logging; from nearfar.cli.running import _progress_on_stderr as on\n"
        "with on(False):\n    for _ in range(9):\n        logging.getLogger('nearfar').info('x' * 70000); print('y')\n"
        "print('done')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, "done\n")
