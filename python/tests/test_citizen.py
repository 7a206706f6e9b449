"""A good citizen of a Python process: signals, forks, threads, the end of the interpreter."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import duckdb
import polars
import pyarrow
import pytest

import merganser
from conftest import ITEMS, wait_until

#: Runs on every shard until it is cancelled.
ENDLESS = "SELECT pg_sleep(3600) AS x /* marked */"
#: Gives rows at once, and goes on for an hour.
TRICKLE = "SELECT i, pg_sleep(0.001) AS x FROM generate_series(1, 3600000) i /* marked */"


@pytest.fixture
def interrupt(backends):
    """Sends Ctrl-C once the marked query runs on the shards, and tells when it did."""
    threads = []
    sent = []

    def begin(after: int = 3) -> list[float]:
        def send() -> None:
            wait_until(lambda: backends() >= after, "the query did not begin")
            time.sleep(0.2)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threads.append(threading.Thread(target=send))
        threads[-1].start()
        return sent

    yield begin
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "call",
    [
        lambda q: q.arrow(),
        lambda q: q.pl(),
        lambda q: q.df(),
        lambda q: q.rows(),
        lambda q: q.reader().fetch_rows(),
        lambda q: list(q.reader()),
        lambda q: pyarrow.table(q),
        lambda q: polars.DataFrame(q),
    ],
)
def test_ctrl_c_while_nothing_has_come(con, call, interrupt, no_backend_left):
    sent = interrupt()
    with pytest.raises(KeyboardInterrupt):
        call(con.fan_out(ENDLESS))
    # Measured: 60 ms at most. The rest is for machines that are busy.
    assert time.monotonic() - sent[0] < 1
    no_backend_left()
    assert con.fan_out("SELECT 1").rows() == [(1,)] * 3


@pytest.mark.parametrize(
    "call", [lambda q: q.arrow(), lambda q: list(q.reader()), lambda q: q.write("/dev/null", format="csv")]
)
def test_ctrl_c_between_rows(con, call, interrupt, no_backend_left):
    interrupt()
    with pytest.raises(KeyboardInterrupt):
        call(con.fan_out(TRICKLE, batch_rows=10))
    no_backend_left()


@pytest.mark.parametrize("library", ["polars.DataFrame", "pyarrow.table"])
def test_ctrl_c_within_another_library_s_import(library, urls, no_backend_left, backends):
    """As in a script: the library reads the stream of rows, and holds the GIL or not."""
    script = f"""
import {library.split(".")[0]}, merganser
con = merganser.connect(shards={urls!r})
q = con.fan_out({TRICKLE!r}, batch_rows=10)
try:
    {library}(q)
except KeyboardInterrupt:
    print("interrupted")
except Exception as error:
    # The signal is raised once more when Python goes on.
    try:
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        print("interrupted")
print(con.fan_out("SELECT 1").rows())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: backends() >= 3, "the query did not begin")
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert "interrupted" in out
    assert "[(1,), (1,), (1,)]" in out
    assert process.returncode == 0
    no_backend_left()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("rows", [10, 8192])
def test_ctrl_c_while_duckdb_s_threads_read(con, threads, rows, interrupt, no_backend_left):
    """Without the block they read on until the query ends, in an hour."""
    q = con.fan_out(TRICKLE, batch_rows=rows)
    before = signal.getsignal(signal.SIGINT)
    with duckdb.connect(config={"threads": threads}) as db:
        sent = interrupt()
        with pytest.raises(KeyboardInterrupt), con.interruptible():
            db.sql("SELECT count(*) FROM q").fetchall()
        assert time.monotonic() - sent[0] < 1
        no_backend_left()
        q = con.sql("SELECT id FROM items")
        assert db.sql("SELECT count(*) FROM q").fetchall() == [(ITEMS,)]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_duckdb_joins_two_queries(con, interrupt, no_backend_left):
    """The second scan may begin on a thread of DuckDB's, and be read by Python's."""
    a, b = (con.fan_out(TRICKLE, batch_rows=10) for _ in range(2))
    with duckdb.connect(config={"threads": 2}) as db:
        sent = interrupt()
        with pytest.raises(KeyboardInterrupt), con.interruptible():
            db.sql("SELECT count(*) FROM a JOIN b USING (i)").fetchall()
        assert time.monotonic() - sent[0] < 1
    no_backend_left()


def test_an_interruptible_block_changes_nothing_else(con):
    heard = []
    own = lambda *_: heard.append(1)  # noqa: E731
    before = signal.signal(signal.SIGINT, own)
    try:
        with con.interruptible():
            os.kill(os.getpid(), signal.SIGINT)
            assert con.sql("SELECT 1").rows() == [(1,)]
        assert signal.getsignal(signal.SIGINT) is own and heard == [1]
        with con.interruptible():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        with con.interruptible():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ZeroDivisionError), con.interruptible():
        1 / 0
    with ThreadPoolExecutor(1) as pool, pytest.raises(merganser.InterfaceError, match="main thread"):
        pool.submit(con.interruptible().__enter__).result()


def test_a_handler_that_does_not_raise_disturbs_nothing(con):
    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        assert con.fan_out("SELECT 1 FROM pg_sleep(1)").rows() == [(1,)] * 3
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == [1]


def test_a_handler_that_raises_is_heard(con, no_backend_left):
    class Late(Exception):
        pass

    def handler(*_):
        raise Late

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Late):
            con.fan_out(ENDLESS).arrow()
    finally:
        signal.signal(signal.SIGALRM, before)
    no_backend_left()


def test_what_a_handler_raises_while_another_library_reads(con, no_backend_left):
    """That the reading failed is all that the library is told."""

    class Late(Exception):
        pass

    def handler(*_):
        raise Late

    interrupted = signal.getsignal(signal.SIGINT)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Late):
            try:
                pyarrow.RecordBatchReader.from_stream(con.fan_out(TRICKLE, batch_rows=10)).read_all()
            except (pyarrow.ArrowException, OSError):
                for _ in range(100_000):
                    pass
    finally:
        signal.signal(signal.SIGALRM, before)
    assert signal.getsignal(signal.SIGINT) is interrupted
    no_backend_left()


def test_ctrl_c_that_a_library_swallows_leaves_the_block(con):
    with pytest.raises(KeyboardInterrupt), con.interruptible():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            pass


def test_other_threads_run_while_one_waits(con):
    counted = 0
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(con.fan_out("SELECT 1 FROM pg_sleep(1)").arrow)
        while not waiting.done():
            counted += 1
            time.sleep(0.01)
    assert counted > 20


def test_threads_share_a_connection(con):
    q = con.sql("SELECT id FROM items ORDER BY id")
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: q.arrow(), range(24)))
    assert all(table.equals(tables[0]) and table.num_rows == ITEMS for table in tables)


def test_two_threads_on_one_reader_are_told(con, backends):
    reader = con.fan_out(TRICKLE).reader()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(reader.fetch_rows)
        wait_until(lambda: backends() >= 3, "the query did not begin")
        time.sleep(0.2)
        with pytest.raises(merganser.InterfaceError, match="another thread"):
            reader.fetch_rows(1)
        reader.close()
        with pytest.raises(merganser.InterfaceError, match="closed while"):
            other.result(timeout=30)


def test_a_query_is_cancelled_from_another_thread(con, backends, no_backend_left):
    q = con.fan_out(ENDLESS)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(q.arrow)
        wait_until(lambda: backends() >= 3, "the query did not begin")
        q.cancel()
        with pytest.raises(merganser.QueryCancelled):
            waiting.result(timeout=30)
    no_backend_left()
    assert con.fan_out("SELECT 1").rows() == [(1,)] * 3


def test_to_close_a_connection_ends_what_runs(topology, backends, no_backend_left):
    con = merganser.connect(topology)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(con.fan_out(ENDLESS).arrow)
        wait_until(lambda: backends() >= 3, "the query did not begin")
        con.close()
        with pytest.raises(merganser.Error):
            waiting.result(timeout=30)
    no_backend_left()


def test_a_reader_that_nobody_wants_any_more_ends_its_query(con, backends, no_backend_left):
    reader = con.fan_out(TRICKLE, batch_rows=10).reader()
    assert next(reader)
    assert backends() == 3
    del reader
    no_backend_left()


def test_a_capsule_that_nobody_reads_ends_its_query(con, backends, no_backend_left):
    capsule = con.fan_out(TRICKLE, batch_rows=10).__arrow_c_stream__()
    assert backends() == 3
    del capsule
    no_backend_left()


def test_a_stream_may_be_read_by_another_thread(con):
    capsule_owner = pyarrow.RecordBatchReader.from_stream(con.sql("SELECT id FROM items"))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(capsule_owner.read_all).result().num_rows == ITEMS


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_child_of_a_fork_is_told(con, backends):
    reader = con.fan_out(TRICKLE, batch_rows=10).reader()
    next(reader)
    q = con.sql("SELECT 1")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = []
            for call in (q.arrow, reader.fetch_rows, con.tables, con.cursor):
                try:
                    call()
                except merganser.InterfaceError as error:
                    said.append(str(error).startswith("opened by process"))
                else:
                    said.append(False)
            con.close()
            again = merganser.connect(shards=[os.environ["SHARD0"]])
            said.append(again.fan_out("SELECT 7").rows() == [(7,)])
            del reader, q, con
            os.write(write, repr(said).encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    said = os.read(read, 1000).decode()
    os.close(read)
    assert status == 0
    assert said == "[True, True, True, True, True]"
    # What the parent has goes on.
    assert backends() == 3
    assert next(reader)
    assert con.sql("SELECT count(*) FROM items").rows() == [(ITEMS,)]
    reader.close()


@pytest.fixture(autouse=True)
def shard0(urls, monkeypatch):
    monkeypatch.setenv("SHARD0", urls[0])


@pytest.mark.parametrize(
    "end",
    [
        "threading.Thread(target=q.arrow, daemon=True).start(); time.sleep(1)",
        "reader = q.reader(); next(reader)",
        "keep = q.__arrow_c_stream__()",
        "keep = q.__arrow_c_stream__(); con.close()",
        "merganser.enable_logging('DEBUG'); reader = q.reader(); sys.exit(0)",
        "del q, con; merganser.connect(shards=shards).fan_out(sql).reader()",
    ],
)
def test_the_interpreter_ends_with_a_query_running(urls, end, no_backend_left):
    script = (
        "import merganser, sys, threading, time\n"
        f"shards, sql = {urls!r}, {TRICKLE!r}\n"
        f"con = merganser.connect(shards=shards)\nq = con.fan_out(sql, batch_rows=10)\n{end}"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "panic" not in ended.stderr
    no_backend_left()


def test_a_limit_on_the_size_of_files_is_an_error(urls, tmp_path, no_backend_left):
    """Others die of SIGXFSZ, which Python does not."""
    script = (
        "import merganser, resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        f"con = merganser.connect(shards={urls!r})\n"
        "q = con.fan_out('SELECT n, md5(n::text) AS t FROM generate_series(1, 10000) n')\n"
        "for name in ['a.csv', 'a.parquet']:\n"
        "    try:\n"
        "        q.write(name)\n"
        "    except merganser.Error as error:\n"
        "        print(error.hint)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("raise the limit of the file size (ulimit -f)") == 2, ended.stdout
    assert os.listdir(tmp_path) == []
    no_backend_left()


def test_a_progress_function_that_fails_ends_the_query(con, no_backend_left):
    def progress(snapshot):
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        con.fan_out(ENDLESS).arrow(progress=progress)
    no_backend_left()
    with pytest.raises(merganser.InterfaceError, match="progress"):
        con.fan_out(ENDLESS).arrow(progress="yes")


def test_a_progress_function_may_ask_something_itself(con):
    seen = []

    def progress(snapshot):
        seen.append(con.sql("SELECT count(*) FROM kinds").rows()[0][0])

    con.fan_out("SELECT pg_sleep(0.3)").arrow(progress=progress)
    assert set(seen) == {5}


def test_a_timeout_is_an_error_of_its_own(con, no_backend_left):
    with pytest.raises(merganser.QueryTimeout):
        con.fan_out(ENDLESS, timeout=0.3).arrow()
    no_backend_left()


def test_warnings_come_by_way_of_logging(tmp_path):
    passfile = tmp_path / "pass"
    passfile.write_text("*:*:*:*:secret-word\n")
    passfile.chmod(0o644)
    script = (
        "import logging, merganser, time\n"
        "logging.basicConfig(format='%(levelname)s %(name)s %(message)s')\n"
        "merganser.enable_logging('DEBUG'); merganser.enable_logging()\n"
        f"merganser.connect('postgresql://x@127.0.0.1/y?passfile={passfile}')\n"
        "time.sleep(0.5)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "WARNING merganser" in ended.stderr and "password file" in ended.stderr
    assert "secret-word" not in ended.stderr
    assert logging.getLogger("merganser").level == logging.NOTSET

